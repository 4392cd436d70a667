#include <sys/stat.h>

#include <algorithm>
#include <bit>

#include "io/open_direct.h"

namespace flashmoe::io {

int open_direct(const std::string& path) { return open_for_reading(path, O_DIRECT); }

int create_direct(const std::string& path) {
  for (const int direct : {O_DIRECT, 0}) {
    int fd;
    do {
      fd = open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | direct, 0666);
    } while (fd < 0 && errno == EINTR);
    if (fd >= 0 || errno != EINVAL) return fd;
  }
  return -1;
}

void leave_direct(int fd) {
  const int flags = fcntl(fd, F_GETFL);
  if (flags >= 0) fcntl(fd, F_SETFL, flags & ~O_DIRECT);
}

void expect_reads(int fd, uint64_t offset, uint64_t bytes) {
  posix_fadvise(fd, static_cast<off_t>(offset), static_cast<off_t>(bytes), POSIX_FADV_WILLNEED);
}

size_t direct_alignment([[maybe_unused]] int fd) {
#ifdef STATX_DIOALIGN  // since Linux 6.1
  struct statx info = {};
  if (statx(fd, "", AT_EMPTY_PATH, STATX_DIOALIGN, &info) == 0 &&
      (info.stx_mask & STATX_DIOALIGN) != 0) {
    const size_t alignment = std::max(info.stx_dio_mem_align, info.stx_dio_offset_align);
    if (alignment == 0 || std::has_single_bit(alignment)) return alignment;
  }
#endif
  return kDefaultAlignment;
}

}  // namespace flashmoe::io
