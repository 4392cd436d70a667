// The definition of the products against double precision, and the rounding of activations.
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <random>
#include <vector>

#include "quant/arithmetic.h"

namespace flashmoe::quant {
namespace {

// Bytes aligned as operand rows must be.
struct alignas(64) Line {
  std::byte bytes[64];
};

std::vector<Line> rounded(const std::vector<float>& x) {
  std::vector<Line> row(int8_row_bytes(x.size()) / 64);
  round_row(x.data(), x.size(), row[0].bytes);
  return row;
}

std::vector<Line> loaded(const std::vector<float>& x) {
  std::vector<Line> row(float_row_bytes(x.size()) / 64);
  load_row(x.data(), x.size(), row[0].bytes);
  return row;
}

std::vector<float> normals(size_t n, int seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal;
  std::vector<float> x(n);
  for (float& v : x) v = normal(random);
  return x;
}

TEST(RoundRow, RoundsPerBlockToNearestEven) {
  std::vector<float> x(96, 0.0f);
  x[0] = 127, x[1] = 2.5f, x[2] = 3.5f, x[3] = -2.5f, x[63] = -127;
  x[64] = 1, x[70] = -0.25f;
  const auto row = rounded(x);
  const Int8Row r = int8_row(row[0].bytes, 96);
  EXPECT_EQ(r.scales[0], 1.0f);
  EXPECT_EQ(r.codes[0], 127);
  EXPECT_EQ(r.codes[1], 2);
  EXPECT_EQ(r.codes[2], 4);
  EXPECT_EQ(r.codes[3], -2);
  EXPECT_EQ(r.codes[63], -127);
  EXPECT_EQ(r.sums32[0], 131.0f);
  EXPECT_EQ(r.sums32[1], -127.0f);
  EXPECT_EQ(r.sums64[0], 4.0f);
  EXPECT_EQ(r.scales[1], 1.0f / 127);
  EXPECT_EQ(r.codes[64], 127);
  EXPECT_EQ(r.codes[70], -32);
  EXPECT_EQ(r.sums32[2], 95.0f);
  EXPECT_EQ(r.sums32[3], 0.0f);
  for (int i = 96; i < 128; ++i) EXPECT_EQ(r.codes[i], 0);
}

TEST(RoundRow, ErrorIsAtMostHalfAStep) {
  const std::vector<float> x = normals(640, 1);
  const auto row = rounded(x);
  const Int8Row r = int8_row(row[0].bytes, 640);
  for (size_t i = 0; i < x.size(); ++i) {
    const float scale = r.scales[i / 64];
    EXPECT_LE(std::fabs(x[i] - scale * r.codes[i]), scale * 0.5001f);
  }
}

TEST(RoundRow, KeepsZeroTinyAndBrokenBlocksApart) {
  std::vector<float> x(320, 0.0f);
  x[64] = 1e-35f;
  x[128] = std::numeric_limits<float>::infinity();
  x[192] = std::numeric_limits<float>::quiet_NaN();
  x[193] = 5;
  x[256] = std::numeric_limits<float>::max();
  const auto row = rounded(x);
  const Int8Row r = int8_row(row[0].bytes, 320);
  EXPECT_EQ(r.scales[0], 0.0f);
  EXPECT_EQ(r.scales[1], 0.0f);
  EXPECT_TRUE(std::isnan(r.scales[2]));
  EXPECT_TRUE(std::isnan(r.scales[3]));
  EXPECT_EQ(r.codes[193], 0);
  EXPECT_EQ(r.codes[256], 127);
}

TEST(LoadRow, SumsItsBlocks) {
  const std::vector<float> x = normals(96, 2);
  const auto row = loaded(x);
  const FloatRow r = float_row(row[0].bytes, 96);
  for (int u = 0; u < 3; ++u) {
    double sum = 0;
    for (int i = 0; i < 32; ++i) sum += x[32 * u + i];
    EXPECT_NEAR(r.sums32[u], sum, 1e-5);
  }
  EXPECT_EQ(r.sums64[0], r.sums32[0] + r.sums32[1]);
  EXPECT_EQ(r.sums64[1], r.sums32[2]);
  for (int i = 96; i < 128; ++i) EXPECT_EQ(r.values[i], 0.0f);
}

// The products stay within (terms + 8) roundings of the sum of magnitudes.
TEST(Dot, IsCloseToDoublePrecision) {
  for (int bits : {2, 3, 4, 5, 6, 8}) {
    for (int group : {32, 64, 128}) {
      const int64_t cols = 5 * 128;
      std::mt19937 random(bits * 1000 + group);
      const std::vector<float> x = normals(cols, group);
      std::vector<uint8_t> codes(cols);
      for (uint8_t& c : codes) c = static_cast<uint8_t>(random() & ((1u << bits) - 1));
      const std::vector<float> scales = normals(cols / group, 3), biases = normals(cols / group, 4);
      const AffineRow w{group, codes.data(), scales.data(), biases.data()};
      const auto int8_bytes = rounded(x), float_bytes = loaded(x);
      const Int8Row xi = int8_row(int8_bytes[0].bytes, cols);
      const FloatRow xf = float_row(float_bytes[0].bytes, cols);
      double exact_int8 = 0, exact_float = 0, magnitude = 0;
      for (int64_t i = 0; i < cols; ++i) {
        const double scaled = double{scales[i / group]} * codes[i], bias = biases[i / group];
        exact_float += (scaled + bias) * x[i];
        exact_int8 += (scaled + bias) * xi.codes[i] * double{xi.scales[i / 64]};
        magnitude += (std::fabs(scaled) + std::fabs(bias)) * std::fabs(x[i]);
      }
      const double bound = magnitude * (group + 8) * 0x1p-24;
      EXPECT_NEAR(dot(w, cols, xi), exact_int8, bound) << bits << " " << group;
      EXPECT_NEAR(dot(w, cols, xf), exact_float, bound) << bits << " " << group;
    }
  }
}

TEST(Dot, OfPlainRowsTakesAnyLength) {
  for (int64_t cols : {1, 2, 3, 63, 64, 65, 100, 1000}) {
    const std::vector<float> w = normals(cols, 5), x = normals(cols, 6);
    const auto bytes = loaded(x);
    double exact = 0, magnitude = 0;
    for (int64_t i = 0; i < cols; ++i) {
      exact += double{w[i]} * x[i];
      magnitude += std::fabs(double{w[i]} * x[i]);
    }
    EXPECT_NEAR(dot(w.data(), cols, float_row(bytes[0].bytes, cols)), exact,
                magnitude * 64 * 0x1p-24);
  }
}

// Spelled out by hand, so that a change of order or of a rounding shows.
TEST(Dot, FollowsItsDefinition) {
  const std::vector<float> x = normals(64, 8), w = normals(64, 9);
  const auto bytes = loaded(x);
  float c[4] = {};
  for (int i = 0; i < 64; i += 4) {
    for (int j = 0; j < 4; ++j) c[j] = std::fma(w[i + j], x[i + j], c[j]);
  }
  EXPECT_EQ(dot(w.data(), 64, float_row(bytes[0].bytes, 64)), (c[0] + c[1]) + (c[2] + c[3]));

  std::vector<uint8_t> codes(64);
  for (int i = 0; i < 64; ++i) codes[i] = static_cast<uint8_t>(i * 37);
  const float scale = 0.01171875f * 1.37f, bias = -1.7f;
  const auto int8_bytes = rounded(x);
  const Int8Row r = int8_row(int8_bytes[0].bytes, 64);
  int32_t product = 0, sum = 0;
  for (int i = 0; i < 64; ++i) {
    product += codes[i] * r.codes[i];
    sum += r.codes[i];
  }
  const float piece = std::fma(scale, static_cast<float>(product), bias * static_cast<float>(sum));
  EXPECT_EQ(dot(AffineRow{64, codes.data(), &scale, &bias}, 64, r),
            std::fma(r.scales[0], piece, 0.0f));
}

}  // namespace
}  // namespace flashmoe::quant
