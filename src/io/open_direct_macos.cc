#include <algorithm>

#include "io/open_direct.h"

namespace flashmoe::io {

// Every file opens; the system asks for no alignment, but is fastest with whole pages.
int open_direct(const std::string& path) {
  const int fd = open_for_reading(path, 0);
  if (fd >= 0) fcntl(fd, F_NOCACHE, 1);
  return fd;
}

int create_direct(const std::string& path) {
  int fd;
  do {
    fd = open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
  } while (fd < 0 && errno == EINTR);
  if (fd >= 0) fcntl(fd, F_NOCACHE, 1);
  return fd;
}

void leave_direct(int fd) { fcntl(fd, F_NOCACHE, 0); }

void expect_reads(int fd, uint64_t offset, uint64_t bytes) {
  radvisory range = {};
  range.ra_offset = static_cast<off_t>(offset);
  range.ra_count = static_cast<int>(std::min<uint64_t>(bytes, uint64_t{1} << 30));
  fcntl(fd, F_RDADVISE, &range);
}

size_t direct_alignment(int) { return kDefaultAlignment; }

}  // namespace flashmoe::io
