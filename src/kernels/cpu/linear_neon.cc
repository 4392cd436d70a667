// NEON with dot products: as linear_avx512.cc, with the 16 rows of a block in four vectors of 4
// lanes. An activation is not broadcast: the instructions multiply by one element of a vector.
#include <arm_neon.h>

#include "kernels/cpu/layout.h"
#include "kernels/cpu/linear.h"
#include "kernels/cpu/linear_tiles.h"
#include "quant/arithmetic.h"
#include "quant/small_floats.h"

#include "kernels/cpu/target_neon.inc"

namespace flashmoe::kernels::cpu {

namespace {

#include "kernels/cpu/vectors_neon.inc"

// sums[i][v] += codes of the unit's vector v from quad kQuad on * x[i]. The instruction takes
// signed bytes: codes of 8 bits count as code - 128 here. `held` keeps 16 activations of each row.
template <int kBits, int kRows, int kAtOnce, int kQuad = 0>
[[gnu::always_inline]] inline void dot_unit(const std::byte* unit, const int8_t* const* x,
                                            int64_t at, int8x16_t* held,
                                            int32x4_t (*sums)[kAtOnce]) {
  if constexpr (kQuad % 4 == 0) {
    for (int i = 0; i < kRows; ++i) held[i] = vld1q_s8(x[i] + at + 4 * kQuad);
  }
  for (int v = 0; v < kAtOnce; ++v) {
    uint8x16_t codes = quad<kBits, kQuad>(unit + v * 16);
    if constexpr (kBits == 8) codes = veorq_u8(codes, vdupq_n_u8(128));
    for (int i = 0; i < kRows; ++i) {
      sums[i][v] = dot<kQuad % 4>(sums[i][v], vreinterpretq_s8_u8(codes), held[i]);
    }
  }
  if constexpr (kQuad + 1 < kQuads) {
    dot_unit<kBits, kRows, kAtOnce, kQuad + 1>(unit, x, at, held, sums);
  }
}

// Weights of input i of vector v of a plain block.
template <DType kType>
inline float32x4_t plain(const std::byte* block, int64_t i, int v) {
  if constexpr (kType == DType::kBf16) {
    const uint32x4_t pair = vreinterpretq_u32_u8(load(block + i / 2 * 64 + v * 16));
    return vreinterpretq_f32_u32(i % 2 == 0 ? vshlq_n_u32(pair, 16)
                                            : vandq_u32(pair, vdupq_n_u32(0xffff0000)));
  } else {
    constexpr int kLaneBytes = kType == DType::kF32 ? 4 : 2;
    return widen4<kType>(block + (i * kVectors + v) * kVectorLanes * kLaneBytes);
  }
}

struct Neon {
  static constexpr const BlockKernels& kBlocks = kNeonBlocks;
  static constexpr auto kFloatsFunctions = neon_floats_functions;
  static constexpr int kInt8Rows = 8;
  static constexpr int kFloatRows = 4;

  template <int kBits, int kUnits, int kRows>
  static void int8_tile(const Tile& t) noexcept {
    constexpr int kAtOnce = kRows <= 4 ? 4 : 2;  // vectors: their sums take half the registers
    const AffineShape shape(t.format);
    const int8_t* x[kRows];
    const float* x_scales[kRows];
    const float* x_sums[kRows];
    float32x4_t acc[kRows][kVectors];
    for (int i = 0; i < kRows; ++i) {
      const quant::Int8Row row = quant::int8_row(t.x + i * t.row_bytes, t.cols);
      x[i] = row.codes;
      x_scales[i] = row.scales;
      x_sums[i] = kUnits == 1 ? row.sums32 : row.sums64;
      for (int v = 0; v < kVectors; ++v) acc[i][v] = vdupq_n_f32(0);
    }
    const std::byte* group = t.block;
    for (int64_t begin = 0; begin < t.cols; begin += t.format.group, group += shape.group_bytes) {
      float32x4_t scale[kVectors], bias[kVectors];
      widen16(t.format.dtype, group + shape.scales_at, scale);
      bias16(t.format, scale, group + shape.biases_at, bias);
      const std::byte* piece = group;
      for (int64_t at = begin; at < begin + t.format.group; at += kUnits * kUnit) {
        for (int first = 0; first < kVectors; first += kAtOnce) {
          int32x4_t sums[kRows][kAtOnce];
          for (int i = 0; i < kRows; ++i) {
            const float x_sum = x_sums[i][at / (kUnits * kUnit)];
            const int32_t offset = kBits == 8 ? 128 * static_cast<int32_t>(x_sum) : 0;
            for (int v = 0; v < kAtOnce; ++v) sums[i][v] = vdupq_n_s32(offset);
          }
          for (int u = 0; u < kUnits; ++u) {
            int8x16_t held[kRows];
            dot_unit<kBits, kRows, kAtOnce>(piece + u * kBits * kVectorBytes + first * 16, x,
                                            at + u * kUnit, held, sums);
          }
          for (int i = 0; i < kRows; ++i) {
            const float x_sum = x_sums[i][at / (kUnits * kUnit)];
            const float x_scale = x_scales[i][at / quant::kBlock];
            for (int v = 0; v < kAtOnce; ++v) {
              const float32x4_t value = vfmaq_f32(vmulq_n_f32(bias[first + v], x_sum),
                                                  scale[first + v], vcvtq_f32_s32(sums[i][v]));
              acc[i][first + v] = vfmaq_n_f32(acc[i][first + v], value, x_scale);
            }
          }
        }
        piece += kUnits * kBits * kVectorBytes;
      }
    }
    for (int i = 0; i < kRows; ++i) store_lanes(t.y + i * t.y_stride, t.lanes, acc[i]);
  }

  template <DType kType, int kRows>
  static void plain_tile(const Tile& t) noexcept {
    constexpr int kAtOnce = 4 / kRows;
    const float* x[kRows];
    float32x4_t acc[kRows][kVectors];
    for (int i = 0; i < kRows; ++i) {
      x[i] = float_row(t, i);
      for (int v = 0; v < kVectors; ++v) acc[i][v] = vdupq_n_f32(0);
    }
    for (int64_t begin = 0; begin < t.cols; begin += quant::kBlock) {
      const int64_t end = begin + quant::kBlock < t.cols ? begin + quant::kBlock : t.cols;
      for (int first = 0; first < kVectors; first += kAtOnce) {
        Chains chains[kRows][kAtOnce];
        clear<kRows>(chains);
        int64_t input = begin;
        for (; input + 4 <= end; input += 4) {
          float32x4_t held[kRows];
          for (int i = 0; i < kRows; ++i) held[i] = vld1q_f32(x[i] + input);
          for (int v = 0; v < kAtOnce; ++v) {
            float32x4_t weights[4];
            for (int c = 0; c < 4; ++c) weights[c] = plain<kType>(t.block, input + c, first + v);
            for (int i = 0; i < kRows; ++i) add_four(weights, held[i], &chains[i][v]);
          }
        }
        for (int c = 0; c < 3; ++c) {  // constant indices keep the chains in registers
          if (input + c >= end) continue;
          for (int v = 0; v < kAtOnce; ++v) {
            const float32x4_t weights = plain<kType>(t.block, input + c, first + v);
            for (int i = 0; i < kRows; ++i) {
              float32x4_t& chain = chains[i][v].of[c];
              chain = vfmaq_n_f32(chain, weights, x[i][input + c]);
            }
          }
        }
        for (int i = 0; i < kRows; ++i) {
          for (int v = 0; v < kAtOnce; ++v) {
            acc[i][first + v] = vaddq_f32(acc[i][first + v], chains[i][v].total());
          }
        }
      }
    }
    for (int i = 0; i < kRows; ++i) store_lanes(t.y + i * t.y_stride, t.lanes, acc[i]);
  }
};

}  // namespace

}  // namespace flashmoe::kernels::cpu

#include "kernels/cpu/target_end.inc"

namespace flashmoe::kernels::cpu {

const LinearKernels kNeonLinear = {"neon", linear<Neon>};

}  // namespace flashmoe::kernels::cpu
