// Every compilation of the row operations gives the same bits, at odd sizes too.
#include "kernels/cpu/row_ops.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <random>
#include <vector>

#include "base/aligned_buffer.h"

namespace flashmoe::kernels::cpu {
namespace {

std::vector<float> random_floats(size_t n, unsigned seed, float scale = 1) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal(0, scale);
  std::vector<float> values(n);
  for (float& v : values) v = normal(random);
  return values;
}

class RowOpsTest : public testing::TestWithParam<Isa> {
 protected:
  void SetUp() override {
    if (!isa_supported(GetParam()))
      GTEST_SKIP() << "this processor has no " << isa_name(GetParam());
  }
  const host::RowOps& ops() const { return row_ops(GetParam()); }
  const host::RowOps& scalar() const { return host::kScalarRowOps; }
};

TEST_P(RowOpsTest, Vectors) {
  for (int64_t n : {1, 2, 15, 16, 17, 64, 100, 2048}) {
    const size_t size = static_cast<size_t>(n);
    const std::vector<float> a = random_floats(size, 1), b = random_floats(size, 2, 30);
    EXPECT_EQ(ops().dot(a.data(), b.data(), n), scalar().dot(a.data(), b.data(), n)) << n;
    std::vector<float> x(size), y(size);
    ops().rms_norm(a.data(), b.data(), n, 1e-6f, x.data());
    scalar().rms_norm(a.data(), b.data(), n, 1e-6f, y.data());
    EXPECT_EQ(x, y) << n;
    x = y = b;
    ops().silu_multiply(x.data(), a.data(), n);
    scalar().silu_multiply(y.data(), a.data(), n);
    EXPECT_EQ(x, y) << n;
  }
}

TEST_P(RowOpsTest, SiluIsAccurateEverywhere) {
  std::vector<float> x, up;
  for (float v = -200; v < 200; v += 0.0137f) x.push_back(v);
  const float infinity = std::numeric_limits<float>::infinity();
  for (float v : {0.0f, -0.0f, 1e-30f, 1e30f, infinity}) x.push_back(v);
  up.assign(x.size(), 1);
  std::vector<float> y = x;
  ops().silu_multiply(y.data(), up.data(), static_cast<int64_t>(y.size()));
  for (size_t i = 0; i < x.size(); ++i) {
    if (x[i] == infinity) {
      EXPECT_EQ(y[i], infinity);
      continue;
    }
    const double expected = x[i] / (1 + std::exp(-double{x[i]}));
    EXPECT_NEAR(y[i], expected, 4e-7 * std::abs(expected) + 1e-30) << x[i];
  }
  float nan = std::numeric_limits<float>::quiet_NaN();
  ops().silu_multiply(&nan, up.data(), 1);
  EXPECT_TRUE(std::isnan(nan));
}

TEST_P(RowOpsTest, DeltaNet) {
  for (const auto& [key_dim, value_dim, width] :
       {std::tuple{128, 128, 4}, {64, 96, 4}, {5, 7, 2}, {16, 24, 3}, {24, 83, 4}}) {
    for (const int64_t rows : {7, 1}) {
      const DeltaNetShape shape{2, 4, key_dim, value_dim, width, 1e-6f};
      const auto floats = [](int64_t n, unsigned seed, float scale = 1) {
        return random_floats(static_cast<size_t>(n), seed, scale);
      };
      const std::vector<float> qkv = floats(rows * shape.channels(), 1);
      const std::vector<float> conv = floats(shape.channels() * width, 2);
      const std::vector<float> z = floats(rows * shape.value_width(), 3);
      const std::vector<float> beta = floats(rows * 4, 4), dt = floats(rows * 4, 5, 10);
      const std::vector<float> norm = floats(value_dim, 6);
      const std::vector<float> decay(4, -0.7f), bias(4, 0.2f);
      const std::vector<float> conv_in = floats(shape.conv_state_floats(), 7);
      const std::vector<float> state_in = floats(shape.state_floats(), 8);
      std::vector<float> outputs[2], states[2];
      for (int which = 0; which < 2; ++which) {
        const host::RowOps& table = which == 0 ? ops() : scalar();
        std::vector<float> conv_out(conv_in.size());
        AlignedBuffer state(state_in.size() * sizeof(float));
        float* const state_out = reinterpret_cast<float*>(state.data());
        std::vector<float> mixed(qkv.size()), out(z.size());
        const DeltaNetSegment segment{
            0, rows, conv_in.data(), state_in.data(), conv_out.data(), state_out};
        const int64_t cut = which == 0 ? shape.channels() / 3 : 0;
        for (int64_t r = 0; r < rows; ++r) {
          table.convolve(shape, conv.data(), qkv.data(), segment, r, 0, cut, mixed.data());
          table.convolve(shape, conv.data(), qkv.data(), segment, r, cut, shape.channels(),
                         mixed.data());
        }
        for (int head = 0; head < 4; ++head) {
          table.delta_rule_head(shape, {conv.data(), decay.data(), bias.data(), norm.data()},
                                {qkv.data(), z.data(), beta.data(), dt.data()}, mixed.data(),
                                segment, head, out.data());
        }
        outputs[which] = out;
        states[which] = conv_out;
        states[which].insert(states[which].end(), state_out, state_out + state_in.size());
      }
      EXPECT_EQ(outputs[0], outputs[1]) << key_dim;
      EXPECT_EQ(states[0], states[1]) << key_dim;
    }
  }
}

TEST_P(RowOpsTest, Attention) {
  for (const KvType kv : {KvType::kF16, KvType::kF32}) {
    for (const auto& [heads, kv_heads, dim, rotary] : {std::tuple{8, 2, 256, 64},
                                                       {3, 1, 20, 10},
                                                       {6, 6, 64, 64},
                                                       {7, 1, 72, 8},
                                                       {20, 2, 16, 8}}) {
      const AttentionShape shape{heads, kv_heads, dim, rotary, 1e-6f, kv};
      constexpr int64_t kRows = 290;
      const size_t query = static_cast<size_t>(kRows * shape.query_width());
      const size_t key = static_cast<size_t>(kRows * shape.kv_width());
      const std::vector<float> q = random_floats(query, 1), k = random_floats(key, 2);
      const std::vector<float> v = random_floats(key, 3), gate = random_floats(query, 4);
      const std::vector<float> norm = random_floats(static_cast<size_t>(dim), 5);
      const std::vector<float> inv_freq = {1, 0.5f, 0.3f, 0.2f, 0.1f, 0.05f, 0.02f, 0.01f};
      std::vector<float> frequencies(static_cast<size_t>(rotary) / 2, 0.01f);
      std::copy_n(inv_freq.begin(), std::min(inv_freq.size(), frequencies.size()),
                  frequencies.begin());
      std::vector<float> outputs[2];
      std::vector<std::byte> memories[2];
      for (int which = 0; which < 2; ++which) {
        const host::RowOps& table = which == 0 ? ops() : scalar();
        std::vector<std::byte> memory(2 * shape.page_bytes());
        std::byte* const pages[] = {memory.data(), memory.data() + shape.page_bytes()};
        const AttentionSegment segment{0, kRows, 0, pages};
        std::vector<float> q_used = q, k_used = k, out(query);
        const AttentionInput input{q_used.data(), k_used.data(), v.data(), gate.data()};
        for (int64_t r = 0; r < kRows; ++r) {
          table.rotate_and_store_row(shape, {norm.data(), norm.data(), frequencies.data()}, input,
                                     segment, r);
        }
        const int group = heads / kv_heads;
        for (int64_t r :
             {int64_t{0}, int64_t{3}, int64_t{15}, int64_t{254}, int64_t{256}, kRows - 1}) {
          for (int head = 0; head < heads; head += group) {
            for (int first = 0; first < group; first += host::kHeadTile) {
              const int n = std::min(host::kHeadTile, group - first);
              if (which == 1) {
                table.attend(shape, input, segment, r, head + first, n, out.data());
                continue;
              }
              // Block by block it gives the same bits, in any order.
              std::vector<float> partial(2 * static_cast<size_t>(shape.partial_floats()));
              for (int64_t block = r / kPageTokens; block >= 0; --block) {
                table.attend_block(shape, input, segment, r, head + first, n, block,
                                   partial.data());
              }
              table.merge_blocks(shape, input, segment, r, head + first, n, partial.data(),
                                 out.data());
            }
          }
        }
        outputs[which] = out;
        memories[which] = memory;
      }
      EXPECT_EQ(outputs[0], outputs[1]) << dim;
      EXPECT_EQ(memories[0], memories[1]) << dim;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Isas, RowOpsTest,
                         testing::Values(Isa::kScalar, Isa::kAvx2, Isa::kAvx512, Isa::kNeon),
                         [](const auto& info) { return isa_name(info.param); });

}  // namespace
}  // namespace flashmoe::kernels::cpu
