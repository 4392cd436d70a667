#include <sys/stat.h>

#include <algorithm>
#include <bit>

#include "io/open_direct.h"

namespace flashmoe::io {

int open_direct(const std::string& path) { return open_for_reading(path, O_DIRECT); }

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
