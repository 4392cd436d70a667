// Small floats with AVX2: as linear_floats_avx512.cc, with the 16 rows of a block in two halves of
// 8 lanes.
#include <immintrin.h>

#include <cstring>

#include "kernels/cpu/layout.h"
#include "kernels/cpu/linear.h"
#include "kernels/cpu/linear_tiles.h"
#include "quant/arithmetic.h"

#include "kernels/cpu/target_avx2.inc"

namespace flashmoe::kernels::cpu {

namespace {

#include "kernels/cpu/vectors_avx2.inc"

// Of the 16 codes of e2m1, the doubled values plus `offset`.
inline __m256i doubled(int offset) { return _mm256_broadcastsi128_si256(doubled16(offset)); }

// The instruction wants unsigned codes: 12 more than twice the value. The products of four quads,
// each pair at most 2 * 127 * 24, fit into 16 bits.
constexpr int kOffset = 12;

// sums[i] += codes of the unit's quads [kFirst, kFirst + 4) * x[i].
template <int kRows, int kFirst, int kQuad = 0>
inline void dot_quads(const std::byte* unit, __m256i table, const int8_t* const* x, int64_t at,
                      __m256i* pairs, __m256i* sums) {
  const __m256i codes = _mm256_shuffle_epi8(table, quad<4, kFirst + kQuad>(unit));
  for (int i = 0; i < kRows; ++i) {
    const __m256i products =
        _mm256_maddubs_epi16(codes, broadcast4(x[i] + at + 4 * (kFirst + kQuad)));
    pairs[i] = kQuad == 0 ? products : _mm256_add_epi16(pairs[i], products);
    if constexpr (kQuad == 3) {
      sums[i] = _mm256_add_epi32(sums[i], _mm256_madd_epi16(pairs[i], _mm256_set1_epi16(1)));
    }
  }
  if constexpr (kQuad < 3) dot_quads<kRows, kFirst, kQuad + 1>(unit, table, x, at, pairs, sums);
}

// The scales of half a group in the codes' unit.
inline __m256 scale8(const Tile& t, const FloatsShape& shape, int64_t group, int half, float unit) {
  const std::byte* from = t.block + shape.scales_at +
                          static_cast<size_t>(group) * shape.scale_bytes +
                          static_cast<size_t>(half) * shape.scale_bytes / 2;
  return _mm256_mul_ps(widen8(t.format.dtype, from), _mm256_set1_ps(unit));
}

struct Avx2Floats {
  static constexpr int kInt8Rows = 4;
  static constexpr int kFloatRows = 2;

  template <int kGroup, int kRows>
  static void e2m1_tile(const Tile& t) noexcept {
    const FloatsShape shape(t.format, t.cols);
    const __m256i table = doubled(kOffset);
    const int8_t* x[kRows];
    const float* x_scales[kRows];
    __m256 acc[kRows][2];
    for (int i = 0; i < kRows; ++i) {
      const quant::Int8Row row = quant::int8_row(t.x + i * t.row_bytes, t.cols);
      x[i] = row.codes;
      x_scales[i] = row.scales;
      acc[i][0] = acc[i][1] = _mm256_setzero_ps();
    }
    for (int64_t begin = 0; begin < t.cols; begin += kGroup) {
      const int64_t at = begin / kUnit * kUnit;
      const std::byte* unit = t.block + at / kUnit * 4 * kVectorBytes;
      int32_t starts[kRows];
      for (int i = 0; i < kRows; ++i) {
        starts[i] = sum_of_16(x[i] + begin);
        if constexpr (kGroup == 32) starts[i] += sum_of_16(x[i] + begin + 16);
      }
      for (int h = 0; h < 2; ++h) {
        __m256i pairs[kRows], sums[kRows];
        for (int i = 0; i < kRows; ++i) sums[i] = _mm256_set1_epi32(-kOffset * starts[i]);
        if (kGroup == 32 || begin == at) {
          dot_quads<kRows, 0>(unit + h * 32, table, x, at, pairs, sums);
        }
        if (kGroup == 32 || begin != at) {
          dot_quads<kRows, 4>(unit + h * 32, table, x, at, pairs, sums);
        }
        const __m256 scale = scale8(t, shape, begin / kGroup, h, 0.5f);
        for (int i = 0; i < kRows; ++i) {
          const __m256 x_scale = _mm256_set1_ps(x_scales[i][begin / quant::kBlock]);
          acc[i][h] = _mm256_fmadd_ps(x_scale, _mm256_mul_ps(scale, _mm256_cvtepi32_ps(sums[i])),
                                      acc[i][h]);
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
    __m256 acc[kRows][2];
    for (int i = 0; i < kRows; ++i) {
      x[i] = float_row(t, i);
      acc[i][0] = acc[i][1] = _mm256_setzero_ps();
    }
    for (int64_t begin = 0; begin < t.cols; begin += piece) {
      const int64_t end = begin + piece < t.cols ? begin + piece : t.cols;
      for (int h = 0; h < 2; ++h) {
        const auto add_input = [&](int64_t input, int chain, __m256* chains) {
          const std::byte* from = t.block + input * kLanes + h * kHalfLanes;
          add_product<kRows>(chain, _mm256_cvtph_ps(e4m3_halves(from)), x, input, chains);
        };
        __m256 chains[4 * kRows];
        clear<kRows>(chains);
        int64_t input = begin;
        for (; input + 4 <= end; input += 4) {
          for (int c = 0; c < 4; ++c) add_input(input + c, c, chains);
        }
        for (int c = 0; c < 3; ++c) {  // constant indices keep the chains in registers
          if (input + c < end) add_input(input + c, c, chains);
        }
        const __m256 scale = scale8(t, shape, begin / t.format.group, h, 256);
        for (int i = 0; i < kRows; ++i) {
          acc[i][h] = _mm256_fmadd_ps(scale, total(chains + 4 * i), acc[i][h]);
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

TileFunctions avx2_floats_functions(const quant::Format& format) {
  return floats_functions<Avx2Floats>(format);
}

}  // namespace flashmoe::kernels::cpu
