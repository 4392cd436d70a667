#include "base/half.h"

#include <gtest/gtest.h>

namespace flashmoe {
namespace {

// Every finite half survives the way to float and back, and float order follows bit order.
TEST(HalfTest, F16RoundTripsEveryValue) {
  for (uint32_t bits = 0; bits < 0x10000; ++bits) {
    const F16 half{static_cast<uint16_t>(bits)};
    const float f = to_float(half);
    if (std::isnan(f)) {
      EXPECT_TRUE(std::isnan(to_float(to_f16(f))));
    } else {
      EXPECT_EQ(to_f16(f).bits, bits);
    }
  }
}

TEST(HalfTest, F16RoundsTiesToEven) {
  EXPECT_EQ(to_f16(1.0f + 0x1p-11f).bits, to_f16(1.0f).bits);
  EXPECT_EQ(to_f16(1.0f + 3 * 0x1p-11f).bits, to_f16(1.0f + 0x1p-9f).bits);
  EXPECT_EQ(to_f16(65519.0f).bits, 0x7bff);
  EXPECT_EQ(to_f16(65520.0f).bits, 0x7c00);
  EXPECT_EQ(to_f16(0x1p-25f).bits, 0);
  EXPECT_EQ(to_f16(1.5f * 0x1p-25f).bits, 1);
}

TEST(HalfTest, Bf16RoundTripsAndRounds) {
  for (uint32_t bits = 0; bits < 0x10000; ++bits) {
    const float f = to_float(Bf16{static_cast<uint16_t>(bits)});
    if (!std::isnan(f)) {
      EXPECT_EQ(to_bf16(f).bits, bits);
    }
  }
  EXPECT_EQ(to_bf16(1.0f + 0x1p-8f).bits, to_bf16(1.0f).bits);
  EXPECT_EQ(to_bf16(1.0f + 3 * 0x1p-8f).bits, to_bf16(1.0f + 0x1p-6f).bits);
}

}  // namespace
}  // namespace flashmoe
