// What a product of a weight row and an activation row is, to the bit. Owns the definition as plain
// scalar code; every instruction set in kernels/cpu gives exactly these bits, for any number of
// rows computed together. Layouts and speed lie in kernels/cpu.
//
// An affine row is cut into pieces of min(group, 64) inputs, a plain row into blocks of 64 (the
// last may be shorter). Pieces are added in the order of their inputs into one float32 accumulator
// that starts at 0; fma() rounds once:
//   affine x int8:   D = exact int32 sum of code * activation; S = exact sum of the activations;
//                    acc = fma(x_scale, fma(w_scale, D, w_bias * S), acc)
//   plain x float:   four chains, c = 0..3, over the inputs i with i % 4 = c in order, from 0:
//                    chain = fma(weight, x, chain); dot = (chain0 + chain1) + (chain2 + chain3);
//                    acc = acc + dot
// A row of small floats is cut as an affine one, w = code * scale; its codes are taken in units:
// 0.5 for e2m1, whose codes are then whole numbers, and 256 for e4m3, whose are then the f16 of the
// same bits. Exact int8 products of e4m3 would need more than 8 bits, so it is taken as it is.
//   e2m1 x int8:     D = exact int32 sum of (code / unit) * activation;
//                    acc = fma(x_scale, (w_scale * unit) * D, acc)
//   e4m3 x float:    the same chains over fma(code / unit, x, chain);
//                    acc = fma(w_scale * unit, dot, acc)
// Affine groups are 32, 64 or 128 inputs, and cols is a multiple of the group. Of small floats they
// are 16 (e2m1), 32 or 128 (e4m3, where the last may be shorter). A bias of zero points is
// -(zero * w_scale), rounded.
//
// Blocks (quant/blocks.h) take their frames in order, all with fma():
//   with minima      t = 0; t = fma(sub_min, x_sum, t) over the pieces of the frame in order, where
//                    x_sum is x_scale * S of the piece, rounded;
//                    acc = fma(bias, t, acc)
//   blocks x int8    in windows of min(frame, 64) inputs: I = exact int32 sum, over the window's
//                    pieces, of sub_scale * D, with D the exact sum of value * activation;
//                    acc = fma(x_scale, scale * I, acc)
//
// Where weights have an int8 product, their product with float32 activations is that with a split
// row, three int8 rows that add up to it to about 2^-24 of the largest of 64: the sum of three.
#pragma once

#include <cstddef>
#include <cstdint>

#include "quant/blocks.h"

namespace flashmoe::quant {

constexpr int64_t kBlock = 64;  // inputs that share an activation scale

// An activation row rounded to int8. Per block of 64 inputs: scale = m / 127 with m the largest
// |x|; code = round(x * (127 / m)) to nearest, ties to even. m below 2^-100 counts as 0: scale and
// codes are 0. A block with an infinity or NaN gets scale NaN and codes 0.
struct Int8Row {
  const int8_t* codes;  // [cols], zeros up to a multiple of 64
  const float* scales;  // [blocks]
  const float* sums64;  // [blocks], sum of the codes of a block
  const float* sums32;  // [2 * blocks], of half a block
  // For the pieces of GGUF's blocks:
  const int32_t* minus32;  // [2 * blocks], minus the sum of 32 codes
  const int32_t* minus16;  // [4 * blocks], of 16
  const float* scaled32;   // [2 * blocks], scale * sum of 32 codes, rounded
  const float* scaled16;   // [4 * blocks], of 16
};

size_t int8_row_bytes(int64_t cols);                           // a multiple of 64
void round_row(const float* x, int64_t cols, std::byte* row);  // row: aligned to 64
inline Int8Row int8_row(const std::byte* row, int64_t cols) {
  const int64_t blocks = (cols + kBlock - 1) / kBlock;
  const float* scales = reinterpret_cast<const float*>(row + blocks * kBlock);
  const float* scaled32 = scales + 4 * blocks;
  const int32_t* minus32 = reinterpret_cast<const int32_t*>(scaled32 + 6 * blocks);
  return {reinterpret_cast<const int8_t*>(row),
          scales,
          scales + blocks,
          scales + 2 * blocks,
          minus32,
          minus32 + 2 * blocks,
          scaled32,
          scaled32 + 2 * blocks};
}

// A split row: its first int8 row is x rounded, its second what that leaves of x, its third what
// both leave; an input leaves input - code * scale, each rounded. Its product adds up theirs, small
// ones first. A block with an infinity, NaN or the largest of floats is NaN; what is left below
// 2^-100 is lost.
constexpr int kParts = 3;
inline size_t split_row_bytes(int64_t cols) { return kParts * int8_row_bytes(cols); }
void split_row(const float* x, int64_t cols, std::byte* row);  // row: aligned to 64
inline float sum_parts(float first, float second, float third) { return (third + second) + first; }

// One weight row, unpacked.
struct AffineRow {
  int group;
  const uint8_t* codes;  // [cols]
  const float* scales;   // [cols / group]
  const float* biases;   // [cols / group]
};

// One weight row of small floats in their unit.
template <typename Code>
struct FloatsRow {
  int group;
  const Code* codes;    // [cols], code / unit
  const float* scales;  // [groups], scale * unit
};

constexpr float float_unit(int bits) { return bits == 4 ? 0.5f : 256.0f; }

float dot(const FloatsRow<int8_t>& w, int64_t cols, const Int8Row& x);
float dot(const FloatsRow<float>& w, int64_t cols, const float* x);
float dot(const AffineRow& w, int64_t cols, const Int8Row& x);
float dot(const float* w, int64_t cols, const float* x);
float dot(BlockType type, const std::byte* blocks, int64_t cols, const Int8Row& x);

// One piece each: the new accumulator. Inputs [begin, begin + piece); `codes`, `weights` and plain
// activations point to the piece's first.
inline constexpr int64_t piece_of(int group) { return group < kBlock ? group : kBlock; }
float add_piece(float acc, const uint8_t* codes, float scale, float bias, int64_t piece,
                const Int8Row& x, int64_t begin);
float add_floats(float acc, const int8_t* codes, float scale, int64_t piece, const Int8Row& x,
                 int64_t begin);
float add_floats(float acc, const float* codes, float scale, int64_t piece, const float* x);
float add_block(float acc, const float* weights, int64_t n, const float* x);
float add_block(float acc, const BlockShape& shape, const Block& block, const Int8Row& x,
                int64_t begin);

}  // namespace flashmoe::quant
