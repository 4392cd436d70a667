// Small floats with AVX-512: see linear_avx512.cc and quant/arithmetic.h.
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

#include "kernels/cpu/target_avx512.inc"

namespace flashmoe::kernels::cpu {

namespace {

#include "kernels/cpu/vectors_avx512.inc"

// Of the 16 codes of e2m1, the doubled values plus `offset`.
inline __m512i doubled(int offset) { return _mm512_broadcast_i32x4(doubled16(offset)); }

// The instruction wants unsigned codes: 12 more than twice the value.
constexpr int kOffset = 12;

// sums[i] += codes of the unit's quads [kQuad, kEnd) * x[i], which points to the unit's inputs.
template <int kRows, int kQuad, int kEnd>
inline void dot_quads(const std::byte* unit, __m512i table, const int8_t* const* x, int64_t at,
                      __m512i* sums) {
  prefetch_quad<4, kQuad>(unit);
  const __m512i codes = _mm512_shuffle_epi8(table, quad<4, kQuad>(unit));
  for (int i = 0; i < kRows; ++i) {
    add_dot(codes, x[i] + at + 4 * kQuad, &sums[i]);
  }
  if constexpr (kQuad + 1 < kEnd) dot_quads<kRows, kQuad + 1, kEnd>(unit, table, x, at, sums);
}

struct Avx512Floats {
  static constexpr int kInt8Rows = 8;
  static constexpr int kFloatRows = 4;

  template <int kGroup, int kRows>
  static void e2m1_tile(const Tile& t) noexcept {
    const FloatsShape shape(t.format, t.cols);
    const __m512i table = doubled(kOffset);
    const int8_t* x[kRows];
    const float* x_scales[kRows];
    __m512 acc[kRows];
    for (int i = 0; i < kRows; ++i) {
      const quant::Int8Row row = quant::int8_row(t.x + i * t.row_bytes, t.cols);
      x[i] = row.codes;
      x_scales[i] = row.scales;
      acc[i] = _mm512_setzero_ps();
    }
    const std::byte* unit = t.block;
    const std::byte* scales = t.block + shape.scales_at;
    for (int64_t at = 0; at < t.cols; at += kUnit, unit += 4 * kVectorBytes) {
      for (int part = 0; part < kUnit / kGroup; ++part) {
        const int64_t begin = at + part * kGroup;
        if (begin >= t.cols) break;
        const __m512 scale = _mm512_mul_ps(widen16(t.format.dtype, scales), _mm512_set1_ps(0.5f));
        scales += shape.scale_bytes;
        __m512i sums[kRows];
        for (int i = 0; i < kRows; ++i) {
          int32_t sum = sum_of_16(x[i] + begin);
          if constexpr (kGroup == 32) sum += sum_of_16(x[i] + begin + 16);
          sums[i] = _mm512_set1_epi32(-kOffset * sum);
        }
        if constexpr (kGroup == 32) {
          dot_quads<kRows, 0, 8>(unit, table, x, at, sums);
        } else if (part == 0) {
          dot_quads<kRows, 0, 4>(unit, table, x, at, sums);
        } else {
          dot_quads<kRows, 4, 8>(unit, table, x, at, sums);
        }
        for (int i = 0; i < kRows; ++i) {
          const __m512 x_scale = _mm512_set1_ps(x_scales[i][begin / quant::kBlock]);
          acc[i] =
              _mm512_fmadd_ps(x_scale, _mm512_mul_ps(scale, _mm512_cvtepi32_ps(sums[i])), acc[i]);
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
    __m512 acc[kRows];
    for (int i = 0; i < kRows; ++i) {
      x[i] = float_row(t, i);
      acc[i] = _mm512_setzero_ps();
    }
    const auto add_input = [&](int64_t input, int chain, __m512* chains) {
      const __m512 weights = _mm512_cvtph_ps(e4m3_halves(t.block + input * kLanes));
      add_product<kRows>(chain, weights, x, input, chains);
    };
    for (int64_t begin = 0; begin < t.cols; begin += piece) {
      __m512 chains[4 * kRows];
      clear<kRows>(chains);
      const int64_t end = begin + piece < t.cols ? begin + piece : t.cols;
      int64_t input = begin;
      for (; input + 4 <= end; input += 4) {
        for (int c = 0; c < 4; ++c) add_input(input + c, c, chains);
      }
      for (int c = 0; c < 3; ++c) {  // constant indices keep the chains in registers
        if (input + c < end) add_input(input + c, c, chains);
      }
      const std::byte* scales =
          t.block + shape.scales_at + begin / t.format.group * shape.scale_bytes;
      const __m512 scale = _mm512_mul_ps(widen16(t.format.dtype, scales), _mm512_set1_ps(256));
      for (int i = 0; i < kRows; ++i)
        acc[i] = _mm512_fmadd_ps(scale, total(chains + 4 * i), acc[i]);
    }
    for (int i = 0; i < kRows; ++i) store_lanes(t.y + i * t.y_stride, t.lanes, acc[i]);
  }
};

}  // namespace

}  // namespace flashmoe::kernels::cpu

#include "kernels/cpu/target_end.inc"

namespace flashmoe::kernels::cpu {

TileFunctions avx512_floats_functions(const quant::Format& format) {
  return floats_functions<Avx512Floats>(format);
}

}  // namespace flashmoe::kernels::cpu
