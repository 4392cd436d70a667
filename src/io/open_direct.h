// Opening a file for reads or writes past the page cache, and hints for those through it: one
// source file for each system. Owns nothing; the descriptor is the caller's. Private to io.
#pragma once

#include <fcntl.h>

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <string>

namespace flashmoe::io {

constexpr size_t kDefaultAlignment = 4096;  // enough for every disk with blocks of up to a page

// -1 with errno.
inline int open_for_reading(const std::string& path, int flags) {
  int fd;
  do {
    fd = open(path.c_str(), O_RDONLY | O_CLOEXEC | flags);
  } while (fd < 0 && errno == EINTR);
  return fd;
}

// -1 with errno: EINVAL when the file system has no direct reads.
int open_direct(const std::string& path);

// The file, emptied or new, for direct writes where the file system has them. -1 with errno.
int create_direct(const std::string& path);
// Ends direct access, if there was any. From any thread.
void leave_direct(int fd);

// A hint that a range will be read through the page cache.
void expect_reads(int fd, uint64_t offset, uint64_t bytes);

// What direct reads must be multiples of; 0 when the file system says that it has none.
size_t direct_alignment(int fd);

}  // namespace flashmoe::io
