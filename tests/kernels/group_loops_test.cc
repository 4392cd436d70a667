// The loops of quantising give the same bits on every instruction set.
#include "kernels/cpu/group_loops.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <random>
#include <vector>

#include "quant/encode.h"
#include "quant/fit.h"

namespace flashmoe::kernels::cpu {
namespace {

using quant::DType;
using quant::Encoding;
using quant::Format;
using quant::GroupLoops;

// Rows that come near the edges of what loops do: spread, all alike, all zero, one far out, tiny.
std::vector<float> weights_of(int kind, int64_t cols) {
  std::mt19937 random(static_cast<uint32_t>(kind));
  std::normal_distribution<float> normal;
  std::vector<float> w(static_cast<size_t>(cols));
  for (float& v : w) v = kind == 1 ? 0.375f : kind == 2 ? 0.0f : normal(random);
  if (kind == 3) w[17] = -1e6f;
  if (kind == 4) {
    for (float& v : w) v *= 1e-30f;
  }
  if (kind == 5) {
    for (float& v : w) v = std::round(v * 4) / 4;  // ties
  }
  return w;
}

struct Encoded {
  std::vector<std::byte> codes, scales, biases;
  Encoded(const Format& format, int64_t cols)
      : codes(format.code_bytes(cols)),
        scales(format.scale_bytes(cols)),
        biases(format.scale_bytes(cols)) {}
  bool operator==(const Encoded&) const = default;
};

class GroupLoopsOf : public ::testing::TestWithParam<Isa> {
 protected:
  void SetUp() override {
    if (!isa_supported(GetParam())) GTEST_SKIP() << "not on this processor";
  }
  const GroupLoops& loops() { return group_loops(GetParam()); }
};

TEST_P(GroupLoopsOf, RoundAsPlainOnesDo) {
  const int64_t cols = 512;
  for (int bits : {2, 3, 4, 5, 6, 8}) {
    for (int group : {32, 64, 128}) {
      for (DType dtype : {DType::kF32, DType::kBf16, DType::kF16}) {
        const Format format{Encoding::kAffine, dtype, bits, group};
        for (int kind = 0; kind < 6; ++kind) {
          const std::vector<float> w = weights_of(kind, cols);
          Encoded expected(format, cols), actual(format, cols);
          quant::encode_row(format, cols, w.data(), expected.codes.data(), expected.scales.data(),
                            expected.biases.data());
          quant::encode_row(format, cols, w.data(), actual.codes.data(), actual.scales.data(),
                            actual.biases.data(), loops());
          EXPECT_EQ(actual, expected) << format.name() << " kind " << kind;
        }
      }
    }
  }
}

TEST_P(GroupLoopsOf, FitAsPlainOnesDo) {
  const int64_t cols = 128;
  const auto n = static_cast<size_t>(cols);
  std::mt19937 random(9);
  std::normal_distribution<float> normal;
  std::vector<float> squares(n), moments(n * n);
  for (int sample = 0; sample < 300; ++sample) {
    std::vector<float> x(n);
    for (float& v : x) v = normal(random);
    for (size_t i = 1; i < n; ++i) x[i] += 0.8f * x[i - 1];
    for (size_t i = 0; i < n; ++i) {
      for (size_t j = 0; j < n; ++j) moments[i * n + j] += x[i] * x[j] / 300;
    }
  }
  for (size_t i = 0; i < n; ++i) squares[i] = moments[i * n + i];
  for (bool with_moments : {false, true}) {
    for (int bits : {2, 3, 4, 6}) {
      const Format format{Encoding::kAffine, DType::kBf16, bits, 64};
      const std::span<const float> products =
          with_moments ? std::span<const float>(moments) : std::span<const float>();
      const quant::RowFitter plain(format, cols, squares, products);
      const quant::RowFitter fast(format, cols, squares, products, quant::RowFitter::kDamping,
                                  loops());
      for (int kind = 0; kind < 6; ++kind) {
        const std::vector<float> w = weights_of(kind, cols);
        Encoded expected(format, cols), actual(format, cols);
        plain.encode_row(w.data(), expected.codes.data(), expected.scales.data(),
                         expected.biases.data());
        fast.encode_row(w.data(), actual.codes.data(), actual.scales.data(), actual.biases.data());
        EXPECT_EQ(actual, expected) << bits << " bits, kind " << kind << ", " << with_moments;
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Isas, GroupLoopsOf,
                         ::testing::Values(Isa::kScalar, Isa::kAvx2, Isa::kAvx512, Isa::kNeon),
                         [](const auto& info) { return std::string(isa_name(info.param)); });

}  // namespace
}  // namespace flashmoe::kernels::cpu
