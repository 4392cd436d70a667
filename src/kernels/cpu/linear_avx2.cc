// AVX2: as linear_avx512.cc, with the 16 rows of a block in two halves of 8 lanes. Products of
// bytes are summed in 16 bits for as long as they cannot overflow.
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

// Codes of 2 and 3 bits come in two places, as they are and times 4, which spares shifts.
template <int kBits>
constexpr bool kTwoPlaces = kBits <= 3;

// How many products of a pair, each at most 2 * 127 * (2^bits - 1), fit into 16 bits; within a
// unit.
template <int kBits>
constexpr int kPairs = kBits == 4   ? kQuads
                       : kBits == 5 ? 4
                       : kBits == 6 ? 2
                                    : 1;

// The codes of a quad; those of odd ones times 4 if kTwoPlaces. Of 8 bits: minus 128.
template <int kBits, int kQuad>
inline __m256i placed_quad(const std::byte* unit) {
  if constexpr (kTwoPlaces<kBits>) {
    constexpr int kTo = 2 * (kQuad % 2);
    const __m256i codes = field<2, kQuad % 4, kTo>(load(unit + kQuad / 4 * kVectorBytes));
    if constexpr (kBits == 2) return codes;
    return _mm256_or_si256(codes, field<1, kQuad, kTo + 2>(load(unit + 2 * kVectorBytes)));
  } else {
    const __m256i codes = quad<kBits, kQuad>(unit);
    return kBits == 8 ? _mm256_xor_si256(codes, _mm256_set1_epi8(-128)) : codes;
  }
}

// What one activation row and some of the halves of a block come to. Sums are in 16 bits as long as
// they fit; so are those of codes times 4.
template <int kHalves>
struct Sums {
  __m256i all[kHalves], pairs[kHalves], fours[kHalves];
};

inline void add_pairs(__m256i pairs, __m256i* all) {
  *all = _mm256_add_epi32(*all, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
}

// Adds codes of the unit from quad kQuad on * x[i] to sums[i].
template <int kBits, int kRows, int kHalves, int kQuad = 0>
inline void dot_unit(const std::byte* unit, const int8_t* const* x, int64_t at,
                     Sums<kHalves>* sums) {
  __m256i codes[kHalves];
  for (int h = 0; h < kHalves; ++h) codes[h] = placed_quad<kBits, kQuad>(unit + h * 32);
  for (int i = 0; i < kRows; ++i) {
    const __m256i activations = broadcast4(x[i] + at + 4 * kQuad);
    Sums<kHalves>& s = sums[i];
    for (int h = 0; h < kHalves; ++h) {
      const __m256i products = kBits == 8
                                   ? _mm256_maddubs_epi16(_mm256_abs_epi8(codes[h]),
                                                          _mm256_sign_epi8(activations, codes[h]))
                                   : _mm256_maddubs_epi16(codes[h], activations);
      if constexpr (kTwoPlaces<kBits>) {
        __m256i& pairs = kQuad % 2 == 0 ? s.pairs[h] : s.fours[h];
        pairs = kQuad == 1 ? products : _mm256_add_epi16(pairs, products);
        if constexpr (kQuad + 1 == kQuads) {
          s.pairs[h] = _mm256_add_epi16(s.pairs[h], _mm256_srai_epi16(s.fours[h], 2));
        }
      } else {
        s.pairs[h] = kQuad % kPairs<kBits> == 0 ? products : _mm256_add_epi16(s.pairs[h], products);
        if constexpr ((kQuad + 1) % kPairs<kBits> == 0) add_pairs(s.pairs[h], &s.all[h]);
      }
    }
  }
  if constexpr (kQuad + 1 < kQuads) {
    dot_unit<kBits, kRows, kHalves, kQuad + 1>(unit, x, at, sums);
  }
}

// Weights of input i of one half of a plain block.
template <DType kType>
inline __m256 plain(const std::byte* block, int64_t i, int half) {
  if constexpr (kType == DType::kBf16) {
    const __m256i pair = load(block + i / 2 * 64 + half * 32);
    return _mm256_castsi256_ps(i % 2 == 0 ? _mm256_slli_epi32(pair, 16)
                                          : _mm256_and_si256(pair, _mm256_set1_epi32(-65536)));
  } else {
    constexpr int kLaneBytes = kType == DType::kF32 ? 4 : 2;
    return widen8(kType, block + (i * 2 + half) * kHalfLanes * kLaneBytes);
  }
}

struct Avx2 {
  static constexpr const BlockKernels& kBlocks = kAvx2Blocks;
  static constexpr auto kFloatsFunctions = avx2_floats_functions;
  static constexpr int kInt8Rows = 4;
  static constexpr int kFloatRows = 2;

  template <int kBits, int kUnits, int kRows>
  static void int8_tile(const Tile& t) noexcept {
    // The commonest kind, as in linear_avx512.cc.
    if (kRows == 1 && t.format.dtype == DType::kBf16 && !t.format.zero_points) {
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
    constexpr int kHalves = kRows == 1 ? 2 : 1;  // at once, as registers allow
    const AffineShape shape(format);
    const size_t half_scales = (shape.biases_at - shape.scales_at) / 2;
    const int8_t* x[kRows];
    const float* x_scales[kRows];
    const float* x_sums[kRows];
    __m256 acc[kRows][2];
    for (int i = 0; i < kRows; ++i) {
      const quant::Int8Row row = quant::int8_row(t.x + i * t.row_bytes, t.cols);
      x[i] = row.codes;
      x_scales[i] = row.scales;
      x_sums[i] = kUnits == 1 ? row.sums32 : row.sums64;
      acc[i][0] = acc[i][1] = _mm256_setzero_ps();
    }
    const std::byte* group = t.block;
    const int pieces = format.group / static_cast<int>(kUnits * kUnit);
    for (int64_t at = 0; at < t.cols; group += shape.group_bytes) {
      const std::byte* piece = group;
      for (int p = 0; p < pieces; ++p, at += kUnits * kUnit) {
        for (int half = 0; half < 2; half += kHalves) {
          // The compiler must not see that both halves take the same activations: it would keep
          // them in memory, broadcast.
          int64_t from = at;
          asm("" : "+r"(from));
          Sums<kHalves> sums[kRows];
          for (int i = 0; i < kRows; ++i) {
            for (int h = 0; h < kHalves; ++h) {
              sums[i].all[h] = sums[i].pairs[h] = _mm256_setzero_si256();
            }
          }
          for (int u = 0; u < kUnits; ++u) {
            dot_unit<kBits, kRows>(piece + u * kBits * kVectorBytes + half * 32, x,
                                   from + u * kUnit, sums);
          }
          // As in linear_avx512.cc: only now.
          const std::byte* after = group;
          asm("" : "+r"(after) : "x"(sums[0].pairs[0]));
          if (half == 0) {
            prefetch(after + p * kUnits * kBits * kVectorBytes + kNextGroup, kUnits * kBits);
            if (p + 1 == pieces) prefetch(after + shape.scales_at + kNextGroup);
          }
          for (int h = 0; h < kHalves; ++h) {
            const size_t place = (half + h) * half_scales;
            const __m256 scale = widen8(format.dtype, after + shape.scales_at + place);
            const __m256 bias = bias8(format, scale, after + shape.biases_at + place);
            for (int i = 0; i < kRows; ++i) {
              if constexpr (kTwoPlaces<kBits>) add_pairs(sums[i].pairs[h], &sums[i].all[h]);
              const __m256 x_sum = _mm256_set1_ps(x_sums[i][at / (kUnits * kUnit)]);
              const __m256 x_scale = _mm256_set1_ps(x_scales[i][at / quant::kBlock]);
              __m256 product = _mm256_cvtepi32_ps(sums[i].all[h]);
              // Whole numbers below 2^24: exact.
              if (kBits == 8) product = _mm256_fmadd_ps(_mm256_set1_ps(128), x_sum, product);
              const __m256 value = _mm256_fmadd_ps(scale, product, _mm256_mul_ps(bias, x_sum));
              __m256& sum = acc[i][half + h];
              sum = _mm256_fmadd_ps(x_scale, value, sum);
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
    const float* x[kRows];
    __m256 acc[kRows][2];
    for (int i = 0; i < kRows; ++i) {
      x[i] = float_row(t, i);
      acc[i][0] = acc[i][1] = _mm256_setzero_ps();
    }
    for (int64_t begin = 0; begin < t.cols; begin += quant::kBlock) {
      const int64_t end = begin + quant::kBlock < t.cols ? begin + quant::kBlock : t.cols;
      for (int h = 0; h < 2; ++h) {
        __m256 chains[4 * kRows];
        clear<kRows>(chains);
        int64_t input = begin;
        for (; input + 4 <= end; input += 4) {
          for (int c = 0; c < 4; ++c) {
            add_product<kRows>(c, plain<kType>(t.block, input + c, h), x, input + c, chains);
          }
        }
        for (int c = 0; c < 3; ++c) {  // constant indices keep the chains in registers
          if (input + c < end) {
            add_product<kRows>(c, plain<kType>(t.block, input + c, h), x, input + c, chains);
          }
        }
        for (int i = 0; i < kRows; ++i) {
          acc[i][h] = _mm256_add_ps(acc[i][h], total(chains + 4 * i));
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

const LinearKernels kAvx2Linear = {"avx2", linear<Avx2>};

}  // namespace flashmoe::kernels::cpu
