#include "base/aligned_buffer.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>

#include "base/error.h"

namespace flashmoe {
namespace {

TEST(AlignedBufferTest, IsAlignedZeroAndWritable) {
  for (const size_t bytes : {size_t{1}, size_t{4096}, size_t{4097}, size_t{1} << 20,
                             (size_t{4} << 20) - 1, (size_t{5} << 20) + 3}) {
    AlignedBuffer buffer(bytes);
    ASSERT_EQ(buffer.bytes(), bytes);
    EXPECT_EQ(reinterpret_cast<uintptr_t>(buffer.data()) % 4096, 0u);
    EXPECT_TRUE(std::ranges::all_of(buffer.span(), [](std::byte b) { return b == std::byte{0}; }));
    std::ranges::fill(buffer.span(), std::byte{7});
  }
}

TEST(AlignedBufferTest, Moves) {
  AlignedBuffer empty;
  EXPECT_EQ(empty.data(), nullptr);
  EXPECT_EQ(empty.bytes(), 0u);
  AlignedBuffer a(100);
  std::byte* data = a.data();
  AlignedBuffer b = std::move(a);
  EXPECT_EQ(b.data(), data);
  empty = std::move(b);
  EXPECT_EQ(empty.data(), data);
  EXPECT_EQ(empty.bytes(), 100u);
  empty = AlignedBuffer();
  EXPECT_EQ(empty.bytes(), 0u);
  EXPECT_EQ(AlignedBuffer(0).data(), nullptr);
}

TEST(AlignedBufferTest, ReportsWhatDoesNotFit) {
  for (const size_t bytes : {size_t{1} << 55, ~size_t{0}}) {
    try {
      AlignedBuffer buffer(bytes);
      FAIL();
    } catch (const Error& e) {
      EXPECT_EQ(e.code(), ErrorCode::kMemory);
    }
  }
}

}  // namespace
}  // namespace flashmoe
