#include "quant/format.h"

#include <gtest/gtest.h>

namespace flashmoe::quant {
namespace {

TEST(Format, KnowsTheSizesOfBlocks) {
  const Format q4 = Format::of_blocks(BlockType::kQ4_K);
  EXPECT_EQ(q4.name(), "Q4_K");
  EXPECT_EQ(q4.code_bytes(2048), 8u * 144);
  EXPECT_EQ(q4.scale_bytes(2048), 0u);
  EXPECT_EQ(q4.row_bytes(2048), 8u * 144);
  EXPECT_DOUBLE_EQ(q4.bits_per_weight(), 4.5);
  EXPECT_NE(q4, Format::of_blocks(BlockType::kQ5_K));
}

TEST(Format, KnowsBlocksByTheirNumberInGguf) {
  EXPECT_EQ(block_type(14), BlockType::kQ6_K);
  EXPECT_EQ(block_type(40), BlockType::kNVFP4);
  for (uint32_t id : {0u, 1u, 4u, 5u, 30u, 31u, 41u, 1000u})
    EXPECT_EQ(block_type(id), std::nullopt);
}

}  // namespace
}  // namespace flashmoe::quant
