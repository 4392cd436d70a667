// Small floats with NEON: as linear_floats_avx512.cc, with the 16 rows of a block in four vectors
// of 4 lanes, and signed codes.
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

inline int8x16_t doubled_table() { return vld1q_s8(quant::kE2m1Doubled); }

// The doubled values of the unit's quad; `unit` is moved to the vector of 4 rows.
template <int kQuad>
inline int8x16_t doubled(const std::byte* unit, int8x16_t table) {
  return vqtbl1q_s8(table, quad<4, kQuad>(unit));
}

// sums[i] += codes of the unit's quads [kFirst, kFirst + 4) * held[i], their 16 activations.
template <int kRows, int kFirst, int kQuad = 0>
[[gnu::always_inline]] inline void dot_quads(const std::byte* unit, int8x16_t table,
                                             const int8x16_t* held, int32x4_t* sums) {
  const int8x16_t codes = doubled<kFirst + kQuad>(unit, table);
  for (int i = 0; i < kRows; ++i) sums[i] = dot<kQuad>(sums[i], codes, held[i]);
  if constexpr (kQuad < 3) dot_quads<kRows, kFirst, kQuad + 1>(unit, table, held, sums);
}

// The four e4m3 codes of vector v of an input, divided by 256: those of f16's bits. Not for NaN.
inline float32x4_t e4m3_weights(const std::byte* block, int64_t input, int v) {
  const uint8x8_t four = vreinterpret_u8_u32(
      vld1_dup_u32(reinterpret_cast<const uint32_t*>(block + input * kLanes + v * kVectorLanes)));
  const uint16x8_t wide = vreinterpretq_u16_s16(vshll_n_s8(vreinterpret_s8_u8(four), 7));
  const uint16x8_t halves = vbicq_u16(wide, vdupq_n_u16(0x4000));
  return vcvt_f32_f16(vreinterpret_f16_u16(vget_low_u16(halves)));
}

// The scales of a group in the codes' unit.
inline void scale16(const Tile& t, const FloatsShape& shape, int64_t group, float unit,
                    float32x4_t* to) {
  widen16(t.format.dtype,
          t.block + shape.scales_at + static_cast<size_t>(group) * shape.scale_bytes, to);
  for (int v = 0; v < kVectors; ++v) to[v] = vmulq_n_f32(to[v], unit);
}

struct NeonFloats {
  static constexpr int kInt8Rows = 8;
  static constexpr int kFloatRows = 4;

  template <int kGroup, int kRows>
  static void e2m1_tile(const Tile& t) noexcept {
    const FloatsShape shape(t.format, t.cols);
    const int8x16_t table = doubled_table();
    const int8_t* x[kRows];
    const float* x_scales[kRows];
    float32x4_t acc[kRows][kVectors];
    for (int i = 0; i < kRows; ++i) {
      const quant::Int8Row row = quant::int8_row(t.x + i * t.row_bytes, t.cols);
      x[i] = row.codes;
      x_scales[i] = row.scales;
      for (int v = 0; v < kVectors; ++v) acc[i][v] = vdupq_n_f32(0);
    }
    for (int64_t begin = 0; begin < t.cols; begin += kGroup) {
      const int64_t at = begin / kUnit * kUnit;
      const std::byte* unit = t.block + at / kUnit * 4 * kVectorBytes;
      float32x4_t scale[kVectors];
      scale16(t, shape, begin / kGroup, 0.5f, scale);
      int8x16_t low[kRows], high[kRows];  // of 32 inputs
      for (int i = 0; i < kRows; ++i) {
        low[i] = vld1q_s8(x[i] + at);
        high[i] = vld1q_s8(x[i] + at + 16);
      }
      for (int v = 0; v < kVectors; ++v) {
        int32x4_t sums[kRows];
        for (int i = 0; i < kRows; ++i) sums[i] = vdupq_n_s32(0);
        if (kGroup == 32 || begin == at) dot_quads<kRows, 0>(unit + v * 16, table, low, sums);
        if (kGroup == 32 || begin != at) dot_quads<kRows, 4>(unit + v * 16, table, high, sums);
        for (int i = 0; i < kRows; ++i) {
          const float32x4_t value = vmulq_f32(scale[v], vcvtq_f32_s32(sums[i]));
          acc[i][v] = vfmaq_n_f32(acc[i][v], value, x_scales[i][begin / quant::kBlock]);
        }
      }
    }
    for (int i = 0; i < kRows; ++i) store_lanes(t.y + i * t.y_stride, t.lanes, acc[i]);
  }

  template <int kRows>
  static void e4m3_tile(const Tile& t) noexcept {
    const FloatsShape shape(t.format, t.cols);
    const int64_t piece = quant::piece_of(t.format.group);
    const float* x[kRows];
    float32x4_t acc[kRows][kVectors];
    for (int i = 0; i < kRows; ++i) {
      x[i] = float_row(t, i);
      for (int v = 0; v < kVectors; ++v) acc[i][v] = vdupq_n_f32(0);
    }
    for (int64_t begin = 0; begin < t.cols; begin += piece) {
      const int64_t end = begin + piece < t.cols ? begin + piece : t.cols;
      float32x4_t scale[kVectors];
      scale16(t, shape, begin / t.format.group, 256, scale);
      for (int v = 0; v < kVectors; ++v) {
        Chains chains[kRows][1];
        clear<kRows>(chains);
        int64_t input = begin;
        for (; input + 4 <= end; input += 4) {
          float32x4_t weights[4];
          for (int c = 0; c < 4; ++c) weights[c] = e4m3_weights(t.block, input + c, v);
          for (int i = 0; i < kRows; ++i) {
            add_four(weights, vld1q_f32(x[i] + input), &chains[i][0]);
          }
        }
        for (int c = 0; c < 3; ++c) {  // constant indices keep the chains in registers
          if (input + c >= end) continue;
          const float32x4_t weights = e4m3_weights(t.block, input + c, v);
          for (int i = 0; i < kRows; ++i) {
            float32x4_t& chain = chains[i][0].of[c];
            chain = vfmaq_n_f32(chain, weights, x[i][input + c]);
          }
        }
        for (int i = 0; i < kRows; ++i) {
          acc[i][v] = vfmaq_f32(acc[i][v], scale[v], chains[i][0].total());
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

TileFunctions neon_floats_functions(const quant::Format& format) {
  return floats_functions<NeonFloats>(format);
}

}  // namespace flashmoe::kernels::cpu
