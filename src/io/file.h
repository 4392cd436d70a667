// A file open for reading, through the page cache or past it. Owns the descriptor; positions and
// buffers are the caller's, so any thread may read at any time.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

namespace flashmoe::io {

enum class Access {
  kBuffered,  // through the page cache
  kDirect,    // past it: O_DIRECT, on macOS F_NOCACHE
};

class File {
 public:
  // Throws Error. Where the file system has no direct reads (tmpfs), kDirect gives a buffered file;
  // direct() tells.
  explicit File(std::string path, Access access = Access::kBuffered);
  ~File();
  File(File&& other) noexcept;
  File& operator=(File&& other) noexcept;

  const std::string& path() const { return path_; }
  int fd() const { return fd_; }
  uint64_t size() const { return size_bytes_; }  // when it was opened
  bool direct() const { return alignment_ > 1; }
  // What offset, length and destination of a queued read must be multiples of: a power of two; 1
  // for buffered files. Only the end of the file need not be aligned: ask past it and get less.
  size_t alignment() const { return alignment_; }

  // Reads exactly [offset, offset + bytes), waiting for it; any offset, length and destination will
  // do. Throws Error kIo with path and offset, also when the file ends before.
  void read_exact(uint64_t offset, size_t bytes, std::byte* destination) const;
  // Tells the system that this range will soon be read through the page cache, so that it begins
  // to. Only a hint.
  void expect(uint64_t offset, uint64_t bytes) const;

 private:
  void read_range(uint64_t offset, size_t bytes, size_t needed_bytes, std::byte* destination) const;

  std::string path_;
  int fd_ = -1;
  uint64_t size_bytes_ = 0;
  size_t alignment_ = 1;
};

}  // namespace flashmoe::io
