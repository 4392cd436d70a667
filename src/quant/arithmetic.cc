#include "quant/arithmetic.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>

namespace flashmoe::quant {

namespace {

int64_t blocks_of(int64_t cols) { return (cols + kBlock - 1) / kBlock; }

// Of |x|, compared as integers, so that infinities and NaN come out on top.
float largest_magnitude(const float* x, int n) {
  int32_t largest = 0;
  for (int i = 0; i < n; ++i) {
    largest = std::max(largest, std::bit_cast<int32_t>(x[i]) & 0x7fffffff);
  }
  return std::bit_cast<float>(largest);
}

// x [64] to codes [64]; returns the scale.
float round_block(const float* x, int8_t* codes) {
  const float largest = largest_magnitude(x, kBlock);
  if (!(largest >= 0x1p-100f) || largest > std::numeric_limits<float>::max()) {
    std::memset(codes, 0, kBlock);
    return largest < 1 ? 0.0f : std::numeric_limits<float>::quiet_NaN();
  }
  // Adding 1.5 * 2^23 makes the FPU round to an integer, left in the low bits of the sum.
  constexpr float kShift = 12582912.0f;
  const float inverse = 127.0f / largest;
  for (int i = 0; i < kBlock; ++i) {
    codes[i] = static_cast<int8_t>(std::bit_cast<int32_t>(x[i] * inverse + kShift));
  }
  return largest / 127.0f;
}

int32_t sum(const int8_t* codes, int n) {
  int32_t total = 0;
  for (int i = 0; i < n; ++i) total += codes[i];
  return total;
}

template <int kInputs>
float sum_in_lanes(const float* x) {
  float s[8];
  for (int l = 0; l < 8; ++l) s[l] = x[l];
  for (int i = 8; i < kInputs; i += 8) {
    for (int l = 0; l < 8; ++l) s[l] += x[i + l];
  }
  for (int l = 0; l < 4; ++l) s[l] += s[l + 4];
  return (s[0] + s[2]) + (s[1] + s[3]);
}

// The last block, filled up with zeros.
const float* padded(const float* x, int64_t n, float* buffer) {
  if (n >= kBlock) return x;
  std::fill(std::copy_n(x, n, buffer), buffer + kBlock, 0.0f);
  return buffer;
}

template <typename Weight>
float dot_in_chains(const Weight* w, int64_t n, const float* x) {
  float chains[4] = {};
  for (int64_t i = 0; i < n; ++i) {
    chains[i % 4] = std::fma(static_cast<float>(w[i]), x[i], chains[i % 4]);
  }
  return (chains[0] + chains[1]) + (chains[2] + chains[3]);
}

template <typename Row>
float dot_affine(const AffineRow& w, int64_t cols, const Row& x) {
  const int64_t piece = piece_of(w.group);
  float acc = 0;
  for (int64_t i = 0; i < cols; i += piece) {
    const int64_t g = i / w.group;
    acc = add_piece(acc, w.codes + i, w.scales[g], w.biases[g], piece, x, i);
  }
  return acc;
}

// What the minima of a block's frame are multiplied with: the sums of its pieces.
const float* sums_of_pieces(const Int8Row& x, int piece) {
  return piece == 16 ? x.scaled16 : x.scaled32;
}
const float* sums_of_pieces(const FloatRow& x, int piece) {
  return piece == 16 ? x.sums16 : x.sums32;
}

// The dot of inputs [at, at + window) of a block, in its scale.
float add_window(float acc, const BlockShape& shape, const Block& block, int at, int window,
                 const Int8Row& x, int64_t begin) {
  int32_t total = 0;
  for (int i = at; i < at + window; ++i) {
    total += block.sub_scales[i / shape.piece] * (block.values[i] * x.codes[begin + i]);
  }
  const float value = block.scales[at / shape.frame] * static_cast<float>(total);
  return std::fma(x.scales[(begin + at) / kBlock], value, acc);
}

float add_window(float acc, const BlockShape& shape, const Block& block, int at, int window,
                 const FloatRow& x, int64_t begin) {
  float total = 0;
  for (int i = at; i < at + window; i += shape.piece) {
    const float product = dot_in_chains(block.values + i, shape.piece, x.values + begin + i);
    total = std::fma(static_cast<float>(block.sub_scales[i / shape.piece]), product, total);
  }
  return std::fma(block.scales[at / shape.frame], total, acc);
}

template <typename Row>
float add_frames(float acc, const BlockShape& shape, const Block& block, const Row& x,
                 int64_t begin) {
  const int window = std::min<int>(shape.frame, kBlock);
  for (int frame = 0; frame < shape.inputs; frame += shape.frame) {
    if (shape.minima) {
      const float* sums = sums_of_pieces(x, shape.piece) + begin / shape.piece;
      float total = 0;
      for (int p = frame / shape.piece; p < (frame + shape.frame) / shape.piece; ++p) {
        total = std::fma(static_cast<float>(block.sub_mins[p]), sums[p], total);
      }
      acc = std::fma(block.biases[frame / shape.frame], total, acc);
    }
    for (int at = frame; at < frame + shape.frame; at += window) {
      acc = add_window(acc, shape, block, at, window, x, begin);
    }
  }
  return acc;
}

template <typename Row>
float dot_blocks(BlockType type, const std::byte* blocks, int64_t cols, const Row& x) {
  const BlockShape shape = block_shape(type);
  Block block;
  float acc = 0;
  for (int64_t i = 0; i < cols; i += shape.inputs, blocks += block_info(type).bytes) {
    unpack_block(type, blocks, &block);
    acc = add_frames(acc, shape, block, x, i);
  }
  return acc;
}

template <typename Code, typename Row>
float dot_floats(const FloatsRow<Code>& w, int64_t cols, const Row& x) {
  const int64_t piece = piece_of(w.group);
  float acc = 0;
  for (int64_t i = 0; i < cols; i += piece) {
    acc = add_floats(acc, w.codes + i, w.scales[i / w.group], std::min(piece, cols - i), x, i);
  }
  return acc;
}

}  // namespace

size_t int8_row_bytes(int64_t cols) {
  const size_t blocks = static_cast<size_t>(blocks_of(cols));
  return (blocks * (kBlock + 16 * sizeof(float)) + 63) / 64 * 64;
}

void round_row(const float* x, int64_t cols, std::byte* row) {
  const int64_t blocks = blocks_of(cols);
  int8_t* codes = reinterpret_cast<int8_t*>(row);
  float* scales = reinterpret_cast<float*>(row + blocks * kBlock);
  float* sums64 = scales + blocks;
  float* sums32 = sums64 + blocks;
  float* scaled32 = sums32 + 2 * blocks;
  float* scaled16 = scaled32 + 2 * blocks;
  int32_t* minus32 = reinterpret_cast<int32_t*>(scaled16 + 4 * blocks);
  int32_t* minus16 = minus32 + 2 * blocks;
  float buffer[kBlock];
  for (int64_t b = 0; b < blocks; ++b, codes += kBlock) {
    scales[b] = round_block(padded(x + b * kBlock, cols - b * kBlock, buffer), codes);
    for (int64_t half = 2 * b; half < 2 * b + 2; ++half) {
      int32_t total = 0;
      for (int64_t quarter = 2 * half; quarter < 2 * half + 2; ++quarter) {
        const int32_t part = sum(codes + (quarter - 4 * b) * 16, 16);
        minus16[quarter] = -part;
        scaled16[quarter] = scales[b] * static_cast<float>(part);
        total += part;
      }
      minus32[half] = -total;
      scaled32[half] = scales[b] * static_cast<float>(total);
      sums32[half] = static_cast<float>(total);
    }
    sums64[b] = sums32[2 * b] + sums32[2 * b + 1];
  }
}

size_t float_row_bytes(int64_t cols) {
  const size_t blocks = static_cast<size_t>(blocks_of(cols));
  return (blocks * (kBlock + 7) * sizeof(float) + 63) / 64 * 64;
}

void load_row(const float* x, int64_t cols, std::byte* row) {
  const int64_t blocks = blocks_of(cols);
  float* values = reinterpret_cast<float*>(row);
  float* sums64 = values + blocks * kBlock;
  float* sums32 = sums64 + blocks;
  float* sums16 = sums32 + 2 * blocks;
  std::fill(std::copy_n(x, cols, values), sums64, 0.0f);
  for (int64_t b = 0; b < blocks; ++b) {
    sums32[2 * b] = sum_in_lanes<32>(values + b * kBlock);
    sums32[2 * b + 1] = sum_in_lanes<32>(values + b * kBlock + 32);
    sums64[b] = sums32[2 * b] + sums32[2 * b + 1];
    for (int i = 0; i < 4; ++i) sums16[4 * b + i] = sum_in_lanes<16>(values + b * kBlock + 16 * i);
  }
}

float add_piece(float acc, const uint8_t* codes, float scale, float bias, int64_t piece,
                const Int8Row& x, int64_t begin) {
  int32_t product = 0;
  for (int64_t i = 0; i < piece; ++i) product += int32_t{codes[i]} * x.codes[begin + i];
  const float total = piece == 32 ? x.sums32[begin / 32] : x.sums64[begin / 64];
  const float value = std::fma(scale, static_cast<float>(product), bias * total);
  return std::fma(x.scales[begin / kBlock], value, acc);
}

float add_piece(float acc, const uint8_t* codes, float scale, float bias, int64_t piece,
                const FloatRow& x, int64_t begin) {
  const float product = dot_in_chains(codes, piece, x.values + begin);
  const float total = piece == 32 ? x.sums32[begin / 32] : x.sums64[begin / 64];
  return acc + std::fma(scale, product, bias * total);
}

float add_floats(float acc, const int8_t* codes, float scale, int64_t piece, const Int8Row& x,
                 int64_t begin) {
  int32_t product = 0;
  for (int64_t i = 0; i < piece; ++i) product += int32_t{codes[i]} * x.codes[begin + i];
  return std::fma(x.scales[begin / kBlock], scale * static_cast<float>(product), acc);
}

float add_floats(float acc, const float* codes, float scale, int64_t piece, const FloatRow& x,
                 int64_t begin) {
  return std::fma(scale, dot_in_chains(codes, piece, x.values + begin), acc);
}

float add_block(float acc, const float* weights, int64_t n, const FloatRow& x, int64_t begin) {
  return acc + dot_in_chains(weights, n, x.values + begin);
}

float add_block(float acc, const BlockShape& shape, const Block& block, const Int8Row& x,
                int64_t begin) {
  return add_frames(acc, shape, block, x, begin);
}
float add_block(float acc, const BlockShape& shape, const Block& block, const FloatRow& x,
                int64_t begin) {
  return add_frames(acc, shape, block, x, begin);
}

float dot(BlockType type, const std::byte* blocks, int64_t cols, const Int8Row& x) {
  return dot_blocks(type, blocks, cols, x);
}
float dot(BlockType type, const std::byte* blocks, int64_t cols, const FloatRow& x) {
  return dot_blocks(type, blocks, cols, x);
}

float dot(const FloatsRow<int8_t>& w, int64_t cols, const Int8Row& x) {
  return dot_floats(w, cols, x);
}
float dot(const FloatsRow<float>& w, int64_t cols, const FloatRow& x) {
  return dot_floats(w, cols, x);
}
float dot(const AffineRow& w, int64_t cols, const Int8Row& x) { return dot_affine(w, cols, x); }
float dot(const AffineRow& w, int64_t cols, const FloatRow& x) { return dot_affine(w, cols, x); }

float dot(const float* w, int64_t cols, const FloatRow& x) {
  float acc = 0;
  for (int64_t i = 0; i < cols; i += kBlock) {
    acc = add_block(acc, w + i, std::min(kBlock, cols - i), x, i);
  }
  return acc;
}

}  // namespace flashmoe::quant
