// Memory for weights, cache slots and staging: page-aligned (so direct reads can land in it),
// filled with zeros. Owns its pages; pages are taken from the system when first touched.
#pragma once

#include <cstddef>
#include <span>
#include <utility>

namespace flashmoe {

// What memory is taken in. Huge pages are faster to compute on. Small ones are for memory of which
// parts are discarded: a huge page would come back whole when one byte of it is touched, and the
// system may even put one together from what is left.
enum class Pages { kHuge, kSmall };

class AlignedBuffer {
 public:
  AlignedBuffer() = default;
  // Throws Error kMemory when the system has no such room. Huge pages are a wish.
  explicit AlignedBuffer(size_t bytes, Pages pages = Pages::kHuge);
  ~AlignedBuffer();
  AlignedBuffer(AlignedBuffer&& other) noexcept
      : data_(std::exchange(other.data_, nullptr)), bytes_(std::exchange(other.bytes_, 0)) {}
  AlignedBuffer& operator=(AlignedBuffer&& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(bytes_, other.bytes_);
    return *this;
  }

  std::byte* data() { return data_; }  // nullptr when empty
  const std::byte* data() const { return data_; }
  size_t bytes() const { return bytes_; }
  // Gives the memory of a part, in whole pages, back to the system; its contents are lost. Only for
  // small pages.
  void discard(size_t offset, size_t bytes);
  std::span<std::byte> span() { return {data_, bytes_}; }
  std::span<const std::byte> span() const { return {data_, bytes_}; }

 private:
  std::byte* data_ = nullptr;
  size_t bytes_ = 0;
};

}  // namespace flashmoe
