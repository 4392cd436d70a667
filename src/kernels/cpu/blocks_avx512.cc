// Products of GGUF's blocks with AVX-512 and VNNI; see block_tiles.inc.
#if !defined(__clang__)  // false alarms out of gcc 12's own avx512fintrin.h
#pragma GCC diagnostic ignored "-Wuninitialized"
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#endif

#include <immintrin.h>

#include <cstring>

#include "kernels/cpu/layout.h"
#include "kernels/cpu/linear_tiles.h"
#include "quant/arithmetic.h"
#include "quant/codebooks.h"

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

constexpr int kVectorLanes = 16;
constexpr int kBlockRows = 4, kBlockFloatRows = 2;
constexpr uint32_t kFlip = 0x80;  // the instruction takes unsigned codes: value + 128

typedef uint32_t Words __attribute__((vector_size(64)));
typedef int32_t Ints __attribute__((vector_size(64)));
typedef float Floats __attribute__((vector_size(64)));
typedef uint8_t Bytes __attribute__((vector_size(64)));

inline Ints splat(int32_t v) { return (Ints)_mm512_set1_epi32(v); }
inline Floats splat(float v) { return (Floats)_mm512_set1_ps(v); }
inline Floats fma(Floats a, Floats b, Floats c) { return (Floats)_mm512_fmadd_ps(a, b, c); }

inline Floats widen_halves(const std::byte* from) {
  return (Floats)_mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(from)));
}
inline Floats widen_low_halves(Words words) {
  return (Floats)_mm512_cvtph_ps(_mm512_cvtepi32_epi16((__m512i)words));
}
inline Words widen_bytes(const std::byte* from) {
  return (Words)_mm512_cvtepu8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(from)));
}
inline Words gather(const void* entries, Words index) {
  return (Words)_mm512_i32gather_epi32((__m512i)index, entries, 4);
}
inline Words look_up(const uint8_t* table, Words indices) {
  const __m128i one = _mm_load_si128(reinterpret_cast<const __m128i*>(table));
  return (Words)_mm512_shuffle_epi8(_mm512_broadcast_i32x4(one), (__m512i)indices);
}

inline void store_lanes(float* to, int lanes, const Floats* values) {
  _mm512_mask_storeu_ps(to, static_cast<__mmask16>((1u << lanes) - 1), values[0]);
}

template <typename T, int kRows, int q>
[[gnu::always_inline]] inline void dot_quads(const std::byte* words, size_t piece,
                                             const int8_t* const* x, int64_t at, Ints* dots) {
  const __m512i codes = (__m512i)T::template codes<q>(words, piece);
  for (int i = 0; i < kRows; ++i) {
    int32_t four;
    __builtin_memcpy(&four, x[i] + at + 4 * q, sizeof(four));
    dots[i] = (Ints)_mm512_dpbusd_epi32((__m512i)dots[i], codes, _mm512_set1_epi32(four));
  }
  if constexpr (4 * q + 4 < T::kPiece) dot_quads<T, kRows, q + 1>(words, piece, x, at, dots);
}

template <typename T, int kRows>
[[gnu::always_inline]] inline void dot_piece(const std::byte* words, size_t piece,
                                             const int8_t* const* x, int64_t at,
                                             const int32_t* const* minus, Ints* dots) {
  constexpr int kOffset = T::kWide ? 128 : T::kOffset;
  for (int i = 0; i < kRows; ++i) {
    dots[i] = kOffset == 0 ? Ints{} : splat(minus[i][at / T::kPiece]) * kOffset;
  }
  dot_quads<T, kRows, 0>(words, piece, x, at, dots);
}

}  // namespace

}  // namespace flashmoe::kernels::cpu

#include "kernels/cpu/block_tiles.inc"

#include "kernels/cpu/block_rows_avx512.inc"

#if defined(__clang__)
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif

#include "kernels/cpu/block_functions.inc"

namespace flashmoe::kernels::cpu {

TileFunctions avx512_block_functions(quant::BlockType type, bool int8) {
  TileFunctions f = block_functions(type, int8);
  const TileFunction one_row = int8 ? one_row_function(type) : nullptr;
  if (one_row != nullptr) f.of_rows[1] = one_row;
  return f;
}

}  // namespace flashmoe::kernels::cpu
