#include "base/aligned_buffer.h"

#include <sys/mman.h>
#include <unistd.h>

#include <cstdint>
#include <cstring>
#include <limits>

#include "base/error.h"
#include "base/format_units.h"

namespace flashmoe {
namespace {

constexpr size_t kHugePageBytes = size_t{2} << 20;

size_t round_up(size_t n, size_t multiple) { return (n + multiple - 1) / multiple * multiple; }

size_t page_bytes() {
  static const size_t bytes = static_cast<size_t>(sysconf(_SC_PAGESIZE));
  return bytes;
}

std::byte* map(size_t bytes, size_t asked_bytes) {
  void* p = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (p == MAP_FAILED) {
    throw_error(ErrorCode::kMemory, "cannot allocate {} of memory: {}", format_bytes(asked_bytes),
                std::strerror(errno));
  }
  return static_cast<std::byte*>(p);
}

// Cuts a mapping with room to spare down to `bytes` that begin at a huge page.
std::byte* trim_to_huge_page(std::byte* mapped, size_t mapped_bytes, size_t bytes) {
  const auto address = reinterpret_cast<uintptr_t>(mapped);
  const size_t head_bytes = round_up(address, kHugePageBytes) - address;
  const size_t tail_bytes = mapped_bytes - head_bytes - bytes;
  if (head_bytes > 0) munmap(mapped, head_bytes);
  if (tail_bytes > 0) munmap(mapped + head_bytes + bytes, tail_bytes);
  return mapped + head_bytes;
}

}  // namespace

AlignedBuffer::AlignedBuffer(size_t bytes, Pages pages) {
  if (bytes == 0) return;
  if (bytes > std::numeric_limits<size_t>::max() / 2) {
    throw_error(ErrorCode::kMemory, "cannot allocate {} bytes of memory", bytes);
  }
  const size_t mapped_bytes = round_up(bytes, page_bytes());
  if (pages == Pages::kSmall || mapped_bytes < 2 * kHugePageBytes) {
    data_ = map(mapped_bytes, bytes);
#ifdef MADV_NOHUGEPAGE
    if (pages == Pages::kSmall) madvise(data_, mapped_bytes, MADV_NOHUGEPAGE);
#endif
  } else {
    std::byte* mapped = map(mapped_bytes + kHugePageBytes, bytes);
    data_ = trim_to_huge_page(mapped, mapped_bytes + kHugePageBytes, mapped_bytes);
#ifdef MADV_HUGEPAGE
    madvise(data_, mapped_bytes, MADV_HUGEPAGE);
#endif
  }
  bytes_ = bytes;
}

AlignedBuffer::~AlignedBuffer() {
  if (data_ != nullptr) munmap(data_, round_up(bytes_, page_bytes()));
}

void AlignedBuffer::discard(size_t offset, size_t bytes) {
  const size_t begin = round_up(offset, page_bytes());
  const size_t end = (offset + bytes) / page_bytes() * page_bytes();
  if (end > begin) madvise(data_ + begin, end - begin, MADV_DONTNEED);
}

}  // namespace flashmoe
