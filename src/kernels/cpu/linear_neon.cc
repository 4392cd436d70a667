// NEON with dot products: as linear_avx512.cc, with the 16 rows of a block in four vectors of 4
// lanes. An activation is not broadcast: the instructions multiply by one element of a vector.
#include <arm_neon.h>

#include "kernels/cpu/layout.h"
#include "kernels/cpu/linear.h"
#include "kernels/cpu/linear_tiles.h"
#include "quant/arithmetic.h"

// What is compiled for dot products is of this file alone: a shared inline function or template
// must not come out of here into the baseline program.
#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("dotprod"))), apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("arch=armv8.2-a+dotprod")
#endif

namespace flashmoe::kernels::cpu {

namespace {

using quant::DType;

constexpr int kQuads = 8;    // vectors of four inputs in a unit
constexpr int kVectors = 4;  // of 4 weight rows each, in a block
constexpr int kVectorLanes = 4;

inline uint8x16_t load(const std::byte* from) {
  return vld1q_u8(reinterpret_cast<const uint8_t*>(from));
}

// 4 values of a 16- or 32-bit type.
template <DType kType>
inline float32x4_t widen4(const std::byte* from) {
  if constexpr (kType == DType::kF32) return vreinterpretq_f32_u8(load(from));
  const uint16x4_t half = vreinterpret_u16_u8(vld1_u8(reinterpret_cast<const uint8_t*>(from)));
  if constexpr (kType == DType::kF16) return vcvt_f32_f16(vreinterpret_f16_u16(half));
  return vreinterpretq_f32_u32(vshll_n_u16(half, 16));
}

// The 16 scales, or biases, of a group.
inline void widen16(DType type, const std::byte* from, float32x4_t* to) {
  for (int v = 0; v < kVectors; ++v) {
    to[v] = type == DType::kF32   ? widen4<DType::kF32>(from + v * 16)
            : type == DType::kF16 ? widen4<DType::kF16>(from + v * 8)
                                  : widen4<DType::kBf16>(from + v * 8);
  }
}

// The first `lanes` of a block's 16 rows.
inline void store_lanes(float* to, int lanes, const float32x4_t* vectors) {
  for (int v = 0; v < kVectors; ++v) {
    const int left = lanes - v * kVectorLanes;
    if (left >= kVectorLanes) {
      vst1q_f32(to + v * kVectorLanes, vectors[v]);
    } else {
      float values[kVectorLanes];
      vst1q_f32(values, vectors[v]);
      for (int i = 0; i < left; ++i) to[v * kVectorLanes + i] = values[i];
    }
  }
}

// Field kIndex of a plane of width kWidth, moved to bit kTo of each byte.
template <int kWidth, int kIndex, int kTo>
inline uint8x16_t field(uint8x16_t plane) {
  constexpr int kFrom = kWidth * kIndex;
  if constexpr (kFrom > kTo) plane = vshrq_n_u8(plane, kFrom - kTo);
  if constexpr (kFrom < kTo) plane = vshlq_n_u8(plane, kTo - kFrom);
  if constexpr (kTo == 0 && kFrom + kWidth == 8) return plane;  // nothing else is left
  return vandq_u8(plane, vdupq_n_u8(((1 << kWidth) - 1) << kTo));
}

// The codes of inputs 4 kQuad to 4 kQuad + 3 of a unit; `unit` is moved to the vector of 4 rows.
template <int kBits, int kQuad>
inline uint8x16_t quad(const std::byte* unit) {
  constexpr int kWide = kBits == 8 ? 8 : kBits >= 4 ? 4 : 2;
  constexpr int kNarrow = kBits - kWide;
  uint8x16_t codes = field<kWide, kQuad % (8 / kWide), 0>(load(unit + kQuad / (8 / kWide) * 64));
  if constexpr (kNarrow > 0) {
    constexpr int kFields = 8 / kNarrow;
    const uint8x16_t plane = load(unit + (kWide + kQuad / kFields) * 64);
    codes = vorrq_u8(codes, field<kNarrow, kQuad % kFields, kWide>(plane));
  }
  return codes;
}

// sums + each lane's four codes · four of the 16 activations x. As vdotq_laneq_s32, which the
// header of clang 14 has only where a whole file is compiled for it.
template <int kFour>
inline int32x4_t dot(int32x4_t sums, int8x16_t codes, int8x16_t x) {
  asm("sdot %0.4s, %1.16b, %2.4b[%3]" : "+w"(sums) : "w"(codes), "w"(x), "i"(kFour));
  return sums;
}

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

// The four sums of a row and a vector of 4 weight rows.
struct Chains {
  float32x4_t of[4];

  float32x4_t total() const { return vaddq_f32(vaddq_f32(of[0], of[1]), vaddq_f32(of[2], of[3])); }
};

template <int kRows, int kAtOnce>
inline void clear(Chains (*chains)[kAtOnce]) {
  for (int i = 0; i < kRows; ++i) {
    for (int v = 0; v < kAtOnce; ++v) {
      for (int c = 0; c < 4; ++c) chains[i][v].of[c] = vdupq_n_f32(0);
    }
  }
}

// Adds the products of four inputs, x, and their weights: one to each chain.
inline void add_four(const float32x4_t* weights, float32x4_t x, Chains* chains) {
  chains->of[0] = vfmaq_laneq_f32(chains->of[0], weights[0], x, 0);
  chains->of[1] = vfmaq_laneq_f32(chains->of[1], weights[1], x, 1);
  chains->of[2] = vfmaq_laneq_f32(chains->of[2], weights[2], x, 2);
  chains->of[3] = vfmaq_laneq_f32(chains->of[3], weights[3], x, 3);
}

template <int kBits, int kRows, int kAtOnce, int kQuad = 0>
[[gnu::always_inline]] inline void float_dot_unit(const std::byte* unit, const float* const* x,
                                                  int64_t at, Chains (*chains)[kAtOnce]) {
  float32x4_t held[kRows];
  for (int i = 0; i < kRows; ++i) held[i] = vld1q_f32(x[i] + at + 4 * kQuad);
  for (int v = 0; v < kAtOnce; ++v) {
    const uint32x4_t codes = vreinterpretq_u32_u8(quad<kBits, kQuad>(unit + v * 16));
    // The conversion divides by a power of two, which brings each byte to its place.
    const float32x4_t weights[4] = {
        vcvtq_f32_u32(vandq_u32(codes, vdupq_n_u32(0xff))),
        vcvtq_n_f32_u32(vandq_u32(codes, vdupq_n_u32(0xff00)), 8),
        vcvtq_n_f32_u32(vandq_u32(codes, vdupq_n_u32(0xff0000)), 16),
        vcvtq_f32_u32(vshrq_n_u32(codes, 24)),
    };
    for (int i = 0; i < kRows; ++i) add_four(weights, held[i], &chains[i][v]);
  }
  if constexpr (kQuad + 1 < kQuads) {
    float_dot_unit<kBits, kRows, kAtOnce, kQuad + 1>(unit, x, at, chains);
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
  static constexpr auto kBlockFunctions = neon_block_functions;
  static constexpr int kInt8Rows = 8;
  static constexpr int kFloatRows = 4;

  template <int kBits, int kUnits, int kRows>
  static void int8_tile(const Tile& t) noexcept {
    constexpr int kAtOnce = kRows <= 4 ? 4 : 2;  // vectors: their sums take half the registers
    const AffineShape shape({quant::Encoding::kAffine, t.dtype, kBits, t.group});
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
    for (int64_t begin = 0; begin < t.cols; begin += t.group, group += shape.group_bytes) {
      float32x4_t scale[kVectors], bias[kVectors];
      widen16(t.dtype, group + shape.scales_at, scale);
      widen16(t.dtype, group + shape.biases_at, bias);
      const std::byte* piece = group;
      for (int64_t at = begin; at < begin + t.group; at += kUnits * kUnit) {
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

  template <int kBits, int kUnits, int kRows>
  static void float_tile(const Tile& t) noexcept {
    constexpr int kAtOnce = 4 / kRows;  // vectors: their chains take half the registers
    const AffineShape shape({quant::Encoding::kAffine, t.dtype, kBits, t.group});
    const float* x[kRows];
    const float* x_sums[kRows];
    float32x4_t acc[kRows][kVectors];
    for (int i = 0; i < kRows; ++i) {
      const quant::FloatRow row = quant::float_row(t.x + i * t.row_bytes, t.cols);
      x[i] = row.values;
      x_sums[i] = kUnits == 1 ? row.sums32 : row.sums64;
      for (int v = 0; v < kVectors; ++v) acc[i][v] = vdupq_n_f32(0);
    }
    const std::byte* group = t.block;
    for (int64_t begin = 0; begin < t.cols; begin += t.group, group += shape.group_bytes) {
      float32x4_t scale[kVectors], bias[kVectors];
      widen16(t.dtype, group + shape.scales_at, scale);
      widen16(t.dtype, group + shape.biases_at, bias);
      const std::byte* piece = group;
      for (int64_t at = begin; at < begin + t.group; at += kUnits * kUnit) {
        for (int first = 0; first < kVectors; first += kAtOnce) {
          Chains chains[kRows][kAtOnce];
          clear<kRows>(chains);
          for (int u = 0; u < kUnits; ++u) {
            float_dot_unit<kBits, kRows>(piece + u * kBits * kVectorBytes + first * 16, x,
                                         at + u * kUnit, chains);
          }
          for (int i = 0; i < kRows; ++i) {
            const float x_sum = x_sums[i][at / (kUnits * kUnit)];
            for (int v = 0; v < kAtOnce; ++v) {
              const float32x4_t value = vfmaq_f32(vmulq_n_f32(bias[first + v], x_sum),
                                                  scale[first + v], chains[i][v].total());
              acc[i][first + v] = vaddq_f32(acc[i][first + v], value);
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
      x[i] = quant::float_row(t.x + i * t.row_bytes, t.cols).values;
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

#if defined(__clang__)
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif

namespace flashmoe::kernels::cpu {

const LinearKernels kNeonLinear = {"neon", linear_int8<Neon>, linear_float<Neon>};

}  // namespace flashmoe::kernels::cpu
