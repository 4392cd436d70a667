// Products of GGUF's blocks with NEON and dot products; see block_tiles.inc.
#include <arm_neon.h>

#include "kernels/cpu/layout.h"
#include "kernels/cpu/linear_tiles.h"
#include "quant/arithmetic.h"
#include "quant/codebooks.h"

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

constexpr int kVectorLanes = 4;
constexpr int kBlockRows = 4, kBlockFloatRows = 2;
constexpr uint32_t kFlip = 0;

typedef uint32_t Words __attribute__((vector_size(16)));
typedef int32_t Ints __attribute__((vector_size(16)));
typedef float Floats __attribute__((vector_size(16)));
typedef uint8_t Bytes __attribute__((vector_size(16)));

inline Ints splat(int32_t v) { return (Ints)vdupq_n_s32(v); }
inline Floats splat(float v) { return (Floats)vdupq_n_f32(v); }
inline Floats fma(Floats a, Floats b, Floats c) {
  return (Floats)vfmaq_f32((float32x4_t)c, (float32x4_t)a, (float32x4_t)b);
}

inline Floats widen_halves(const std::byte* from) {
  const uint8x8_t bytes = vld1_u8(reinterpret_cast<const uint8_t*>(from));
  return (Floats)vcvt_f32_f16(vreinterpret_f16_u8(bytes));
}
inline Floats widen_low_halves(Words words) {
  return (Floats)vcvt_f32_f16(vreinterpret_f16_u16(vmovn_u32((uint32x4_t)words)));
}
inline Words widen_bytes(const std::byte* from) {
  Words v;
  for (int i = 0; i < kVectorLanes; ++i) v[i] = static_cast<uint8_t>(from[i]);
  return v;
}
inline Words gather(const void* entries, Words index) {
  Words v;
  for (int i = 0; i < kVectorLanes; ++i) {
    uint32_t entry;
    __builtin_memcpy(&entry, static_cast<const char*>(entries) + size_t{4} * index[i], 4);
    v[i] = entry;
  }
  return v;
}
inline Words look_up(const uint8_t* table, Words indices) {
  return (Words)vqtbl1q_u8(vld1q_u8(table), (uint8x16_t)indices);
}

inline void store_lanes(float* to, int lanes, const Floats* vectors) {
  for (int lane = 0; lane < lanes; ++lane) {
    to[lane] = vectors[lane / kVectorLanes][lane % kVectorLanes];
  }
}

// sums + each lane's four codes · four of the 16 activations x. As vdotq_laneq_s32, which the
// header of clang 14 has only where a whole file is compiled for it.
template <int kFour>
inline Ints dot(Ints sums, Words codes, int8x16_t x) {
  asm("sdot %0.4s, %1.16b, %2.4b[%3]" : "+w"(sums) : "w"(codes), "w"(x), "i"(kFour));
  return sums;
}

// The instruction takes signed bytes.
template <typename T, int kRows, int q>
[[gnu::always_inline]] inline void dot_quads(const std::byte* words, size_t piece,
                                             const int8_t* const* x, int64_t at, int8x16_t* held,
                                             Ints* dots) {
  if constexpr (q % 4 == 0) {
    for (int i = 0; i < kRows; ++i) held[i] = vld1q_s8(x[i] + at + 4 * q);
  }
  Words codes = T::template codes<q>(words, piece);
  if constexpr (T::kOffset != 0) codes = (Words)((Bytes)codes - static_cast<uint8_t>(T::kOffset));
  for (int i = 0; i < kRows; ++i) dots[i] = dot<q % 4>(dots[i], codes, held[i]);
  if constexpr (4 * q + 4 < T::kPiece) dot_quads<T, kRows, q + 1>(words, piece, x, at, held, dots);
}

template <typename T, int kRows>
[[gnu::always_inline]] inline void dot_piece(const std::byte* words, size_t piece,
                                             const int8_t* const* x, int64_t at,
                                             const int32_t* const*, Ints* dots) {
  for (int i = 0; i < kRows; ++i) dots[i] = Ints{};
  int8x16_t held[kRows];
  dot_quads<T, kRows, 0>(words, piece, x, at, held, dots);
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

TileFunctions neon_block_functions(quant::BlockType type, bool int8) {
  return block_functions(type, int8);
}

}  // namespace flashmoe::kernels::cpu
