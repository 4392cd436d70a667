// AVX-512 with VNNI: a vector holds four inputs of 16 weight rows, an activation is broadcast, and
// a lane is a row, so that nothing is summed across lanes. See layout.h and quant/arithmetic.h.
#if !defined(__clang__)  // false alarms out of gcc 12's own avx512fintrin.h
#pragma GCC diagnostic ignored "-Wuninitialized"
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#endif

#include <immintrin.h>

#include <cstring>

#include "kernels/cpu/layout.h"
#include "kernels/cpu/linear.h"
#include "kernels/cpu/linear_tiles.h"
#include "quant/arithmetic.h"

// What is compiled for AVX-512 is of this file alone: a shared inline function or template must not
// come out of here into the baseline program.
#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx512f,avx512bw,avx512vl,avx512vnni"))), \
                             apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx512f,avx512bw,avx512vl,avx512vnni,prefer-vector-width=512")
#endif

namespace flashmoe::kernels::cpu {

namespace {

using quant::DType;

constexpr int kQuads = 8;  // vectors of four inputs in a unit

inline __m512i load(const std::byte* from) { return _mm512_loadu_si512(from); }

// Four int8 activations for every lane.
inline __m512i broadcast4(const int8_t* codes) {
  int32_t four;
  std::memcpy(&four, codes, sizeof(four));
  return _mm512_set1_epi32(four);
}

// Strides of an odd number of lines, which small groups make, escape some hardware prefetchers:
// 3-bit groups of 64 ran at half the speed of their neighbours. Where loads fill the time, it
// costs.
constexpr int kAhead = 1024;  // bytes

inline void prefetch(const std::byte* from, int vectors) {
  for (int v = 0; v < vectors; ++v) {
    _mm_prefetch(reinterpret_cast<const char*>(from) + v * kVectorBytes, _MM_HINT_T0);
  }
}

// 16 values of a 16- or 32-bit type.
inline __m512 widen16(DType type, const std::byte* from) {
  if (type == DType::kF32) return _mm512_loadu_ps(from);
  const __m256i half = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from));
  if (type == DType::kF16) return _mm512_cvtph_ps(half);
  return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(half), 16));
}

inline void store_lanes(float* to, int lanes, __m512 values) {
  _mm512_mask_storeu_ps(to, static_cast<__mmask16>((1u << lanes) - 1), values);
}

// Field kIndex of a plane of width kWidth, moved to bit kTo of each byte.
template <int kWidth, int kIndex, int kTo>
inline __m512i field(__m512i plane) {
  constexpr int kFrom = kWidth * kIndex;
  const __m512i mask = _mm512_set1_epi8(static_cast<char>(((1 << kWidth) - 1) << kTo));
  if constexpr (kWidth == 8) return plane;
  if constexpr (kFrom > kTo) plane = _mm512_srli_epi32(plane, kFrom - kTo);
  if constexpr (kFrom < kTo) plane = _mm512_slli_epi32(plane, kTo - kFrom);
  return _mm512_and_si512(plane, mask);
}

// The codes of inputs 4 kQuad to 4 kQuad + 3 of a unit.
template <int kBits, int kQuad>
inline __m512i quad(const std::byte* unit) {
  constexpr int kWide = kBits == 8 ? 8 : kBits >= 4 ? 4 : 2;
  constexpr int kNarrow = kBits - kWide;
  __m512i codes = field<kWide, kQuad % (8 / kWide), 0>(load(unit + kQuad / (8 / kWide) * 64));
  if constexpr (kNarrow > 0) {
    constexpr int kFields = 8 / kNarrow;
    const __m512i plane = load(unit + (kWide + kQuad / kFields) * 64);
    codes = _mm512_or_si512(codes, field<kNarrow, kQuad % kFields, kWide>(plane));
  }
  return codes;
}

// sums[i] += codes of the unit from quad kQuad on * x[i].
template <int kBits, int kRows, int kQuad = 0>
inline void dot_unit(const std::byte* unit, const int8_t* const* x, int64_t at, __m512i* sums) {
  const __m512i codes = quad<kBits, kQuad>(unit);
  for (int i = 0; i < kRows; ++i) {
    sums[i] = _mm512_dpbusd_epi32(sums[i], codes, broadcast4(x[i] + at + 4 * kQuad));
  }
  if constexpr (kQuad + 1 < kQuads) dot_unit<kBits, kRows, kQuad + 1>(unit, x, at, sums);
}

// Chain c of activation row i is chains[4 i + c].
template <int kRows>
inline void clear(__m512* chains) {
  for (int i = 0; i < 4 * kRows; ++i) chains[i] = _mm512_setzero_ps();
}

inline __m512 total(const __m512* chains) {
  return _mm512_add_ps(_mm512_add_ps(chains[0], chains[1]), _mm512_add_ps(chains[2], chains[3]));
}

template <int kRows>
inline void add_product(int chain, __m512 weights, const float* const* x, int64_t input,
                        __m512* chains) {
  for (int i = 0; i < kRows; ++i) {
    chains[4 * i + chain] =
        _mm512_fmadd_ps(weights, _mm512_set1_ps(x[i][input]), chains[4 * i + chain]);
  }
}

template <int kBits, int kRows, int kQuad = 0>
inline void float_dot_unit(const std::byte* unit, const float* const* x, int64_t at,
                           __m512* chains) {
  const __m512i codes = quad<kBits, kQuad>(unit);
  const __m512i mask = _mm512_set1_epi32(0xff);
  const __m512i bytes[4] = {
      _mm512_and_si512(codes, mask), _mm512_and_si512(_mm512_srli_epi32(codes, 8), mask),
      _mm512_and_si512(_mm512_srli_epi32(codes, 16), mask), _mm512_srli_epi32(codes, 24)};
  for (int c = 0; c < 4; ++c) {
    add_product<kRows>(c, _mm512_cvtepi32_ps(bytes[c]), x, at + 4 * kQuad + c, chains);
  }
  if constexpr (kQuad + 1 < kQuads) float_dot_unit<kBits, kRows, kQuad + 1>(unit, x, at, chains);
}

// Weights of input i of a plain block.
template <DType kType>
inline __m512 plain(const std::byte* block, int64_t i) {
  if constexpr (kType == DType::kBf16) {
    const __m512i pair = load(block + i / 2 * 64);
    return _mm512_castsi512_ps(i % 2 == 0 ? _mm512_slli_epi32(pair, 16)
                                          : _mm512_and_si512(pair, _mm512_set1_epi32(-65536)));
  } else {
    return widen16(kType, block + i * (kType == DType::kF32 ? 64 : 32));
  }
}

struct Avx512 {
  static constexpr auto kBlockFunctions = avx512_block_functions;
  static constexpr int kInt8Rows = 8;
  static constexpr int kFloatRows = 4;

  template <int kBits, int kUnits, int kRows>
  static void int8_tile(const Tile& t) noexcept {
    const AffineShape shape({quant::Encoding::kAffine, t.dtype, kBits, t.group});
    const int8_t* x[kRows];
    const float* x_scales[kRows];
    const float* x_sums[kRows];
    __m512 acc[kRows];
    for (int i = 0; i < kRows; ++i) {
      const quant::Int8Row row = quant::int8_row(t.x + i * t.row_bytes, t.cols);
      x[i] = row.codes;
      x_scales[i] = row.scales;
      x_sums[i] = kUnits == 1 ? row.sums32 : row.sums64;
      acc[i] = _mm512_setzero_ps();
    }
    const std::byte* group = t.block;
    const int pieces = t.group / static_cast<int>(kUnits * kUnit);
    for (int64_t begin = 0; begin < t.cols; group += shape.group_bytes) {
      const __m512 scale = widen16(t.dtype, group + shape.scales_at);
      const __m512 bias = widen16(t.dtype, group + shape.biases_at);
      const std::byte* unit = group;
      for (int p = 0; p < pieces; ++p, begin += kUnits * kUnit) {
        __m512i sums[kRows];
        for (int i = 0; i < kRows; ++i) sums[i] = _mm512_setzero_si512();
        for (int u = 0; u < kUnits; ++u, unit += kBits * kVectorBytes) {
          if constexpr (kBits <= 3 || kUnits == 1) prefetch(unit + kAhead, kBits);
          dot_unit<kBits, kRows>(unit, x, begin + u * kUnit, sums);
        }
        for (int i = 0; i < kRows; ++i) {
          const __m512 x_sum = _mm512_set1_ps(x_sums[i][begin / (kUnits * kUnit)]);
          const __m512 x_scale = _mm512_set1_ps(x_scales[i][begin / quant::kBlock]);
          const __m512 value =
              _mm512_fmadd_ps(scale, _mm512_cvtepi32_ps(sums[i]), _mm512_mul_ps(bias, x_sum));
          acc[i] = _mm512_fmadd_ps(x_scale, value, acc[i]);
        }
      }
    }
    for (int i = 0; i < kRows; ++i) store_lanes(t.y + i * t.y_stride, t.lanes, acc[i]);
  }

  template <int kBits, int kUnits, int kRows>
  static void float_tile(const Tile& t) noexcept {
    const AffineShape shape({quant::Encoding::kAffine, t.dtype, kBits, t.group});
    const float* x[kRows];
    const float* x_sums[kRows];
    __m512 acc[kRows];
    for (int i = 0; i < kRows; ++i) {
      const quant::FloatRow row = quant::float_row(t.x + i * t.row_bytes, t.cols);
      x[i] = row.values;
      x_sums[i] = kUnits == 1 ? row.sums32 : row.sums64;
      acc[i] = _mm512_setzero_ps();
    }
    const std::byte* group = t.block;
    const int pieces = t.group / static_cast<int>(kUnits * kUnit);
    for (int64_t begin = 0; begin < t.cols; group += shape.group_bytes) {
      const __m512 scale = widen16(t.dtype, group + shape.scales_at);
      const __m512 bias = widen16(t.dtype, group + shape.biases_at);
      const std::byte* unit = group;
      for (int p = 0; p < pieces; ++p, begin += kUnits * kUnit) {
        __m512 chains[4 * kRows];
        clear<kRows>(chains);
        for (int u = 0; u < kUnits; ++u, unit += kBits * kVectorBytes) {
          float_dot_unit<kBits, kRows>(unit, x, begin + u * kUnit, chains);
        }
        for (int i = 0; i < kRows; ++i) {
          const __m512 x_sum = _mm512_set1_ps(x_sums[i][begin / (kUnits * kUnit)]);
          acc[i] = _mm512_add_ps(
              acc[i], _mm512_fmadd_ps(scale, total(chains + 4 * i), _mm512_mul_ps(bias, x_sum)));
        }
      }
    }
    for (int i = 0; i < kRows; ++i) store_lanes(t.y + i * t.y_stride, t.lanes, acc[i]);
  }

  template <DType kType, int kRows>
  static void plain_tile(const Tile& t) noexcept {
    const float* x[kRows];
    __m512 acc[kRows];
    for (int i = 0; i < kRows; ++i) {
      x[i] = quant::float_row(t.x + i * t.row_bytes, t.cols).values;
      acc[i] = _mm512_setzero_ps();
    }
    for (int64_t begin = 0; begin < t.cols; begin += quant::kBlock) {
      __m512 chains[4 * kRows];
      clear<kRows>(chains);
      const int64_t end = begin + quant::kBlock < t.cols ? begin + quant::kBlock : t.cols;
      int64_t input = begin;
      for (; input + 4 <= end; input += 4) {
        for (int c = 0; c < 4; ++c) {
          add_product<kRows>(c, plain<kType>(t.block, input + c), x, input + c, chains);
        }
      }
      for (int c = 0; c < 3; ++c) {  // constant indices keep the chains in registers
        if (input + c < end) {
          add_product<kRows>(c, plain<kType>(t.block, input + c), x, input + c, chains);
        }
      }
      for (int i = 0; i < kRows; ++i) acc[i] = _mm512_add_ps(acc[i], total(chains + 4 * i));
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

const LinearKernels kAvx512Linear = {"avx512", linear_int8<Avx512>, linear_float<Avx512>};

}  // namespace flashmoe::kernels::cpu
