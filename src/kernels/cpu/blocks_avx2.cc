// Products of GGUF's blocks with AVX2; see block_tiles.inc. Products of bytes are summed in 16 bits
// for as long as they cannot overflow.
#include <immintrin.h>

#include <cstring>

#include "kernels/cpu/layout.h"
#include "kernels/cpu/linear_tiles.h"
#include "quant/arithmetic.h"
#include "quant/codebooks.h"

// What is compiled for AVX2 is of this file alone: a shared inline function or template must not
// come out of here into the baseline program.
#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx2,fma,f16c"))), apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx2,fma,f16c")
#endif

namespace flashmoe::kernels::cpu {

namespace {

constexpr int kVectorLanes = 8;
constexpr int kBlockRows = 4, kBlockFloatRows = 2;
constexpr uint32_t kFlip = 0;

typedef uint32_t Words __attribute__((vector_size(32)));
typedef int32_t Ints __attribute__((vector_size(32)));
typedef float Floats __attribute__((vector_size(32)));
typedef uint8_t Bytes __attribute__((vector_size(32)));

inline Ints splat(int32_t v) { return (Ints)_mm256_set1_epi32(v); }
inline Floats splat(float v) { return (Floats)_mm256_set1_ps(v); }
inline Floats fma(Floats a, Floats b, Floats c) { return (Floats)_mm256_fmadd_ps(a, b, c); }

inline Floats widen_halves(const std::byte* from) {
  return (Floats)_mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(from)));
}
inline Floats widen_low_halves(Words words) {
  const __m256i low = (__m256i)(words & 0xffff);
  return (Floats)_mm256_cvtph_ps(
      _mm_packus_epi32(_mm256_castsi256_si128(low), _mm256_extracti128_si256(low, 1)));
}
inline Words widen_bytes(const std::byte* from) {
  return (Words)_mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(from)));
}
inline Words gather(const void* entries, Words index) {
  return (Words)_mm256_i32gather_epi32(static_cast<const int*>(entries), (__m256i)index, 4);
}
inline Words look_up(const uint8_t* table, Words indices) {
  const __m128i one = _mm_load_si128(reinterpret_cast<const __m128i*>(table));
  return (Words)_mm256_shuffle_epi8(_mm256_broadcastsi128_si256(one), (__m256i)indices);
}

inline void store_lanes(float* to, int lanes, const Floats* halves) {
  const __m256i index = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
  for (int h = 0; h < 2; ++h) {
    const __m256i exists = _mm256_cmpgt_epi32(_mm256_set1_epi32(lanes - h * kVectorLanes), index);
    if (lanes > h * kVectorLanes) _mm256_maskstore_ps(to + h * kVectorLanes, exists, halves[h]);
  }
}

// How many products of a pair, each at most 2 * 127 times the largest code, fit into 16 bits.
template <typename T>
constexpr int kPairs = T::kWide ? 1 : 32767 / (254 * T::kLargest);

template <typename T, int kRows, int q>
[[gnu::always_inline]] inline void dot_quads(const std::byte* words, size_t piece,
                                             const int8_t* const* x, int64_t at, __m256i* pairs,
                                             Ints* dots) {
  constexpr bool kLast = 4 * q + 4 >= T::kPiece;
  __m256i codes = (__m256i)T::template codes<q>(words, piece);
  const __m256i values = codes;
  if constexpr (T::kWide) codes = _mm256_abs_epi8(values);
  for (int i = 0; i < kRows; ++i) {
    int32_t four;
    __builtin_memcpy(&four, x[i] + at + 4 * q, sizeof(four));
    __m256i activations = _mm256_set1_epi32(four);
    if constexpr (T::kWide) activations = _mm256_sign_epi8(activations, values);
    const __m256i products = _mm256_maddubs_epi16(codes, activations);
    pairs[i] = q % kPairs<T> == 0 ? products : _mm256_add_epi16(pairs[i], products);
    if constexpr (kLast || (q + 1) % kPairs<T> == 0) {
      dots[i] += (Ints)_mm256_madd_epi16(pairs[i], _mm256_set1_epi16(1));
    }
  }
  if constexpr (!kLast) dot_quads<T, kRows, q + 1>(words, piece, x, at, pairs, dots);
}

template <typename T, int kRows>
[[gnu::always_inline]] inline void dot_piece(const std::byte* words, size_t piece,
                                             const int8_t* const* x, int64_t at,
                                             const int32_t* const* minus, Ints* dots) {
  for (int i = 0; i < kRows; ++i) {
    dots[i] = T::kOffset == 0 ? Ints{} : splat(minus[i][at / T::kPiece]) * T::kOffset;
  }
  __m256i pairs[kRows];
  dot_quads<T, kRows, 0>(words, piece, x, at, pairs, dots);
}

}  // namespace

}  // namespace flashmoe::kernels::cpu

#include "kernels/cpu/block_tiles.inc"

#if defined(__clang__)
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif

#include "kernels/cpu/block_functions.inc"

namespace flashmoe::kernels::cpu {

TileFunctions avx2_block_functions(quant::BlockType type, bool int8) {
  return block_functions(type, int8);
}

}  // namespace flashmoe::kernels::cpu
