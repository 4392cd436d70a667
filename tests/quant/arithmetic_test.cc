// The definition of the products against double precision, and the rounding of activations.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
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

std::vector<Line> split(const std::vector<float>& x) {
  std::vector<Line> row(split_row_bytes(x.size()) / 64);
  split_row(x.data(), x.size(), row[0].bytes);
  return row;
}

Int8Row part_of(const std::vector<Line>& row, int part, int64_t cols) {
  const auto* bytes = reinterpret_cast<const std::byte*>(row.data());
  return int8_row(bytes + static_cast<size_t>(part) * int8_row_bytes(cols), cols);
}

// What a split row stands for.
double value(const std::vector<Line>& row, int64_t i, int64_t cols) {
  double sum = 0;
  for (int p = 0; p < kParts; ++p) {
    const Int8Row part = part_of(row, p, cols);
    sum += double{part.scales[i / 64]} * part.codes[i];
  }
  return sum;
}

// The product of a weight row with float32 activations.
template <typename Dot>
float exact_product(const std::vector<Line>& row, int64_t cols, Dot dot) {
  return sum_parts(dot(part_of(row, 0, cols)), dot(part_of(row, 1, cols)),
                   dot(part_of(row, 2, cols)));
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

TEST(SplitRow, KeepsFloatsButForTheirLastBits) {
  std::vector<float> x = normals(640, 2);
  for (int i = 64; i < 640; i += 64) x[i] *= std::ldexp(1.0f, i / 32);  // outliers
  x.resize(600);
  const auto row = split(x);
  for (int64_t begin = 0; begin < 600; begin += 64) {
    float largest = 0;
    for (int64_t i = begin; i < std::min<int64_t>(begin + 64, 600); ++i) {
      largest = std::max(largest, std::fabs(x[i]));
    }
    for (int64_t i = begin; i < std::min<int64_t>(begin + 64, 600); ++i) {
      EXPECT_NEAR(value(row, i, 600), x[i], largest * 0x1p-23) << i;
    }
  }
  const auto once = rounded(x);
  EXPECT_EQ(std::memcmp(row[0].bytes, once[0].bytes, int8_row_bytes(600)), 0);
}

TEST(SplitRow, KeepsWholeTinyAndBrokenBlocksApart) {
  std::vector<float> x(320, 0.0f);
  x[0] = 127, x[1] = -3;
  x[64] = 0x1p-99f, x[65] = 0x1.8p-107f;
  x[128] = std::numeric_limits<float>::infinity();
  x[192] = std::numeric_limits<float>::quiet_NaN();
  x[256] = 3.4e38f, x[257] = 1e30f;
  const auto row = split(x);
  EXPECT_EQ(value(row, 0, 320), 127);
  EXPECT_EQ(value(row, 1, 320), -3);
  EXPECT_EQ(part_of(row, 1, 320).scales[0], 0);
  EXPECT_NEAR(value(row, 64, 320), x[64], 0x1p-100);
  EXPECT_NEAR(value(row, 65, 320), x[65], 0x1p-100);
  for (int part = 0; part < kParts; ++part) {
    EXPECT_TRUE(std::isnan(part_of(row, part, 320).scales[2])) << part;
    EXPECT_TRUE(std::isnan(part_of(row, part, 320).scales[3])) << part;
  }
  EXPECT_NEAR(value(row, 256, 320) / x[256], 1, 0x1p-23);
  EXPECT_NEAR(value(row, 257, 320), x[257], double{x[256]} * 0x1p-23);
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
      const auto int8_bytes = rounded(x), split_bytes = split(x);
      const Int8Row xi = int8_row(int8_bytes[0].bytes, cols);
      const float product =
          exact_product(split_bytes, cols, [&](const Int8Row& part) { return dot(w, cols, part); });
      double exact_int8 = 0, exact_float = 0, magnitude = 0;
      for (int64_t i = 0; i < cols; ++i) {
        const double scaled = double{scales[i / group]} * codes[i], bias = biases[i / group];
        exact_float += (scaled + bias) * x[i];
        exact_int8 += (scaled + bias) * xi.codes[i] * double{xi.scales[i / 64]};
        magnitude += (std::fabs(scaled) + std::fabs(bias)) * std::fabs(x[i]);
      }
      const double bound = magnitude * (group + 8) * 0x1p-24;
      EXPECT_NEAR(dot(w, cols, xi), exact_int8, bound) << bits << " " << group;
      EXPECT_NEAR(product, exact_float, bound) << bits << " " << group;
    }
  }
}

TEST(Dot, OfPlainRowsTakesAnyLength) {
  for (int64_t cols : {1, 2, 3, 63, 64, 65, 100, 1000}) {
    const std::vector<float> w = normals(cols, 5), x = normals(cols, 6);
    double exact = 0, magnitude = 0;
    for (int64_t i = 0; i < cols; ++i) {
      exact += double{w[i]} * x[i];
      magnitude += std::fabs(double{w[i]} * x[i]);
    }
    EXPECT_NEAR(dot(w.data(), cols, x.data()), exact, magnitude * 64 * 0x1p-24);
  }
}

// Spelled out by hand, so that a change of order or of a rounding shows.
TEST(Dot, FollowsItsDefinition) {
  const std::vector<float> x = normals(64, 8), w = normals(64, 9);
  float c[4] = {};
  for (int i = 0; i < 64; i += 4) {
    for (int j = 0; j < 4; ++j) c[j] = std::fma(w[i + j], x[i + j], c[j]);
  }
  EXPECT_EQ(dot(w.data(), 64, x.data()), (c[0] + c[1]) + (c[2] + c[3]));

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
