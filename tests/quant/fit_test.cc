#include "quant/fit.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <random>
#include <vector>

#include "quant/decode.h"
#include "quant/encode.h"

namespace flashmoe::quant {
namespace {

constexpr int64_t kCols = 64;

Format affine(int bits, int group, DType dtype = DType::kF32) {
  return {Encoding::kAffine, dtype, bits, group};
}

std::vector<float> random_row(std::mt19937& random, int64_t cols) {
  std::normal_distribution<float> normal;
  std::vector<float> row(static_cast<size_t>(cols));
  for (float& w : row) w = normal(random);
  return row;
}

// Mean products of inputs that hang together.
std::vector<float> random_moments(std::mt19937& random, int64_t cols) {
  const auto n = static_cast<size_t>(cols);
  std::vector<float> moments(n * n);
  for (size_t sample = 0; sample < 3 * n; ++sample) {
    std::vector<float> x = random_row(random, cols);
    for (size_t i = 1; i < n; ++i) x[i] += 0.8f * x[i - 1];
    for (size_t i = 0; i < n; ++i) {
      for (size_t j = 0; j < n; ++j)
        moments[i * n + j] += x[i] * x[j] / (3 * static_cast<float>(n));
    }
  }
  return moments;
}

struct Encoded {
  std::vector<std::byte> codes, scales, biases;
  std::vector<float> values;

  Encoded(const Format& format, int64_t cols)
      : codes(format.code_bytes(cols)),
        scales(format.scale_bytes(cols)),
        biases(format.scale_bytes(cols)),
        values(static_cast<size_t>(cols)) {}

  void decode(const Format& format) {
    decode_row(format, static_cast<int64_t>(values.size()), codes.data(), scales.data(),
               biases.data(), values.data());
  }
  std::vector<float> difference(const std::vector<float>& weights) const {
    std::vector<float> d(values);
    for (size_t i = 0; i < d.size(); ++i) d[i] -= weights[i];
    return d;
  }
};

Encoded plain(const Format& format, const std::vector<float>& row) {
  Encoded e(format, static_cast<int64_t>(row.size()));
  encode_row(format, static_cast<int64_t>(row.size()), row.data(), e.codes.data(), e.scales.data(),
             e.biases.data());
  e.decode(format);
  return e;
}

Encoded fitted(const RowFitter& fitter, const Format& format, const std::vector<float>& row) {
  Encoded e(format, static_cast<int64_t>(row.size()));
  fitter.encode_row(row.data(), e.codes.data(), e.scales.data(), e.biases.data());
  e.decode(format);
  return e;
}

TEST(FitTest, CostIsTheQuadraticForm) {
  std::mt19937 random(1);
  const std::vector<float> moments = random_moments(random, kCols), d = random_row(random, kCols);
  const RowFitter fitter(affine(2, 64), kCols, {}, moments, 0);
  double expected = 0;
  for (size_t i = 0; i < d.size(); ++i) {
    for (size_t j = 0; j < d.size(); ++j) expected += double{moments[i * kCols + j]} * d[i] * d[j];
  }
  EXPECT_NEAR(fitter.cost(d) / expected, 1, 1e-6);
  // Squares rescale the moments' diagonal.
  std::vector<float> squares(kCols);
  for (size_t i = 0; i < squares.size(); ++i) squares[i] = 4 * moments[i * kCols + i];
  EXPECT_NEAR(RowFitter(affine(2, 64), kCols, squares, moments, 0).cost(d) / expected, 4, 1e-5);
  expected = 0;
  for (size_t i = 0; i < d.size(); ++i) expected += double{squares[i]} * d[i] * d[i];
  EXPECT_NEAR(RowFitter(affine(2, 64), kCols, squares, {}, 0).cost(d) / expected, 1, 1e-6);
}

TEST(FitTest, NeverCostsMoreThanPlainRoundingAndUsuallyFarLess) {
  std::mt19937 random(2);
  for (const DType dtype : {DType::kF32, DType::kBf16, DType::kF16}) {
    for (const int bits : {2, 3, 4, 5, 6, 8}) {
      for (const int group : {32, 64, 128}) {
        SCOPED_TRACE(testing::Message() << dtype_name(dtype) << " " << bits << " " << group);
        constexpr int64_t cols = 128;
        const Format format = affine(bits, group, dtype);
        const std::vector<float> moments = random_moments(random, cols);
        const RowFitter with_moments(format, cols, {}, moments), alone(format, cols, {}, {});
        double moments_cost = 0, moments_plain = 0, alone_cost = 0, alone_plain = 0;
        for (int i = 0; i < 8; ++i) {
          std::vector<float> row = random_row(random, cols);
          if (i == 0) row[5] = 30;
          const Encoded p = plain(format, row);
          for (const RowFitter* fitter : {&with_moments, &alone}) {
            const double own = fitter->cost(fitted(*fitter, format, row).difference(row));
            const double other = fitter->cost(p.difference(row));
            EXPECT_LE(own, other);
            if (i == 0) continue;  // what an outlier costs would hide the others
            (fitter == &alone ? alone_cost : moments_cost) += own;
            (fitter == &alone ? alone_plain : moments_plain) += other;
          }
        }
        if (bits > 4) continue;
        EXPECT_LT(alone_cost, (bits == 2 ? 0.8 : 0.9) * alone_plain);
        EXPECT_LT(moments_cost, (bits == 2 ? 0.4 : 0.6) * moments_plain);
      }
    }
  }
}

// All codes that a group with eight weights that matter can have, each with the best scale and
// bias.
TEST(FitTest, ComesNearTheBestOfAllCodes) {
  std::mt19937 random(3);
  constexpr int kFree = 8;
  const Format format = affine(2, 32);
  for (int trial = 0; trial < 5; ++trial) {
    // Only the first inputs are ever seen.
    std::vector<float> squares(32, 0.0f);
    std::vector<float> row = random_row(random, 32);
    std::fill(row.begin() + kFree, row.end(), 0.0f);
    for (int i = 0; i < kFree; ++i)
      squares[static_cast<size_t>(i)] = 1 + 0.3f * static_cast<float>(i);
    double best = 1e30;
    for (int choice = 0; choice < 1 << (2 * kFree); ++choice) {
      double s = 0, q1 = 0, q2 = 0, w1 = 0, wq = 0, w2 = 0;
      for (int i = 0; i < kFree; ++i) {
        const double q = choice >> (2 * i) & 3, d = squares[static_cast<size_t>(i)];
        const double w = row[static_cast<size_t>(i)];
        s += d;
        q1 += d * q;
        q2 += d * q * q;
        w1 += d * w;
        wq += d * w * q;
        w2 += d * w * w;
      }
      const double determinant = s * q2 - q1 * q1;
      if (determinant < 1e-9) continue;
      const double scale = (s * wq - q1 * w1) / determinant, bias = (w1 - scale * q1) / s;
      best = std::min(best, w2 - scale * wq - bias * w1);
    }
    const RowFitter fitter(format, 32, squares, {}, 1e-6f);
    const Encoded e = fitted(fitter, format, row);
    const double cost = fitter.cost(e.difference(row));
    EXPECT_GE(cost, best * 0.999);
    EXPECT_LT(cost, best * 1.35 + 1e-3) << trial;
  }
}

// With moments, no single code could be another at less cost.
TEST(FitTest, NoSingleCodeCouldBeBetter) {
  std::mt19937 random(4);
  const Format format = affine(3, 32);
  const std::vector<float> moments = random_moments(random, kCols);
  const RowFitter fitter(format, kCols, {}, moments);
  int better = 0;
  for (int trial = 0; trial < 10; ++trial) {
    const std::vector<float> row = random_row(random, kCols);
    Encoded e = fitted(fitter, format, row);
    const double cost = fitter.cost(e.difference(row));
    std::vector<uint8_t> codes(kCols);
    unpack_codes(3, kCols, e.codes.data(), codes.data());
    const auto* scales = reinterpret_cast<const float*>(e.scales.data());
    for (size_t j = 0; j < kCols; ++j) {
      for (const int change : {-1, 1}) {
        const int code = codes[j] + change;
        if (code < 0 || code > 7) continue;
        std::vector<float> d = e.difference(row);
        d[j] += static_cast<float>(change) * scales[j / 32];
        better += fitter.cost(d) < cost * 0.9999 ? 1 : 0;
      }
    }
  }
  EXPECT_LE(better, 13);  // of 1280: the last sweep may open a few others
}

TEST(FitTest, OddRowsAreNoObstacle) {
  for (const int bits : {2, 4, 8}) {
    const Format format = affine(bits, 64, DType::kBf16);
    std::vector<float> moments(kCols * kCols, 0.0f);
    moments[0] = 1;  // one input was ever seen
    for (const std::vector<float>& m :
         {std::vector<float>(), moments, std::vector<float>(kCols * kCols, 0.0f)}) {
      const RowFitter fitter(format, kCols, {}, m);
      for (const float value : {0.0f, 1.0f, -3.0f}) {
        const std::vector<float> row(kCols, value);
        const Encoded e = fitted(fitter, format, row);
        for (const float v : e.values) EXPECT_NEAR(v, value, 0.01 * std::fabs(value));
      }
    }
  }
}

}  // namespace
}  // namespace flashmoe::quant
