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

#include "kernels/cpu/target_avx512.inc"

namespace flashmoe::kernels::cpu {

namespace {

#include "kernels/cpu/vectors_avx512.inc"

// Sums of one activation row: with few rows, several hide the latency of an addition.
template <int kRows>
constexpr int kChains = kRows == 1   ? 4
                        : kRows == 2 ? 2
                                     : 1;

// sums[c][i] += codes of the unit from quad kQuad on * x[i], each quad in one of the chains c.
template <int kBits, int kRows, int kQuad = 0>
inline void dot_unit(const std::byte* unit, const int8_t* const* x, int64_t at,
                     __m512i (*sums)[kRows]) {
  const __m512i codes = quad<kBits, kQuad>(unit);
  for (int i = 0; i < kRows; ++i) {
    add_dot(codes, x[i] + at + 4 * kQuad, &sums[kQuad % kChains<kRows>][i]);
  }
  if constexpr (kQuad + 1 < kQuads) dot_unit<kBits, kRows, kQuad + 1>(unit, x, at, sums);
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
  static constexpr const BlockKernels& kBlocks = kAvx512Blocks;
  static constexpr auto kFloatsFunctions = avx512_floats_functions;
  static constexpr int kInt8Rows = 8;
  static constexpr int kFloatRows = 4;

  template <int kBits, int kUnits, int kRows>
  static void int8_tile(const Tile& t) noexcept {
    // The commonest kind, where memory and not arithmetic should decide: the compiler then knows
    // how its scales and biases are read.
    if (kRows <= 2 && t.format.dtype == DType::kBf16 && !t.format.zero_points) {
      quant::Format format = t.format;
      format.dtype = DType::kBf16;
      format.zero_points = false;
      int8_tile_of<kBits, kUnits, kRows>(t, format);
    } else {
      int8_tile_of<kBits, kUnits, kRows>(t, t.format);
    }
  }

  // `format` is the tile's.
  template <int kBits, int kUnits, int kRows>
  [[gnu::always_inline]] static void int8_tile_of(const Tile& t, const quant::Format& format) {
    const AffineShape shape(format);
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
    const int pieces = format.group / static_cast<int>(kUnits * kUnit);
    for (int64_t begin = 0; begin < t.cols; group += shape.group_bytes) {
      const std::byte* unit = group;
      for (int p = 0; p < pieces; ++p, begin += kUnits * kUnit) {
        __m512i sums[kChains<kRows>][kRows];
        for (int c = 0; c < kChains<kRows>; ++c) {
          for (int i = 0; i < kRows; ++i) sums[c][i] = _mm512_setzero_si512();
        }
        for (int u = 0; u < kUnits; ++u, unit += kBits * kVectorBytes) {
          dot_unit<kBits, kRows>(unit, x, begin + u * kUnit, sums);
        }
        // Only now, when all of the piece is on its way: asking earlier takes a tenth longer, and
        // the scales have come with the codes. The compiler must not see that they could be read
        // before.
        const std::byte* after = group;
        asm("" : "+r"(after) : "v"(sums[kChains<kRows> - 1][0]));
        prefetch(after + p * kUnits * kBits * kVectorBytes + kNextGroup, kUnits * kBits);
        if (p + 1 == pieces) prefetch(after + shape.scales_at + kNextGroup);
        const __m512 scale = widen16(format.dtype, after + shape.scales_at);
        const __m512 bias = bias16(format, scale, after + shape.biases_at);
        for (int i = 0; i < kRows; ++i) {
          for (int c = 1; c < kChains<kRows>; ++c) {
            sums[0][i] = _mm512_add_epi32(sums[0][i], sums[c][i]);
          }
          const __m512 x_sum = _mm512_set1_ps(x_sums[i][begin / (kUnits * kUnit)]);
          const __m512 x_scale = _mm512_set1_ps(x_scales[i][begin / quant::kBlock]);
          const __m512 value =
              _mm512_fmadd_ps(scale, _mm512_cvtepi32_ps(sums[0][i]), _mm512_mul_ps(bias, x_sum));
          acc[i] = _mm512_fmadd_ps(x_scale, value, acc[i]);
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
      x[i] = float_row(t, i);
      acc[i] = _mm512_setzero_ps();
    }
    for (int64_t begin = 0; begin < t.cols; begin += quant::kBlock) {
      __m512 chains[4 * kRows];
      clear<kRows>(chains);
      const int64_t end = begin + quant::kBlock < t.cols ? begin + quant::kBlock : t.cols;
      int64_t input = begin;
      for (; input + 4 <= end; input += 4) {
        constexpr int kVectors = kType == DType::kF32 ? 4 : 2;  // of four inputs
        prefetch(t.block + input / 4 * kVectors * kVectorBytes + kAhead, kVectors);
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

#include "kernels/cpu/target_end.inc"

namespace flashmoe::kernels::cpu {

const LinearKernels kAvx512Linear = {"avx512", linear<Avx512>};

}  // namespace flashmoe::kernels::cpu
