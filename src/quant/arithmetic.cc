#include "quant/arithmetic.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>

namespace flashmoe::quant {

namespace {

int64_t blocks_of(int64_t cols) { return (cols + kBlock - 1) / kBlock; }

// Of a block's inputs or codes, four to a vector; compilers left alone take several times as long.
typedef float Floats __attribute__((vector_size(16)));
typedef int32_t Ints __attribute__((vector_size(16)));
constexpr int kVectors = kBlock / 4;

// The largest |x|, compared as integers, so that infinities and NaN come out on top.
float largest_magnitude(const Floats* x) {
  Ints largest = (Ints)x[0] & 0x7fffffff;
  for (int i = 1; i < kVectors; ++i) {
    const Ints magnitude = (Ints)x[i] & 0x7fffffff;
    largest = largest > magnitude ? largest : magnitude;
  }
  return std::bit_cast<float>(
      std::max(std::max(largest[0], largest[1]), std::max(largest[2], largest[3])));
}

// A block's codes; returns the scale.
float round_inputs(const Floats* x, Ints* codes) {
  const float largest = largest_magnitude(x);
  if (!(largest >= 0x1p-100f) || largest > std::numeric_limits<float>::max()) {
    for (int i = 0; i < kVectors; ++i) codes[i] = Ints{};
    return largest < 1 ? 0.0f : std::numeric_limits<float>::quiet_NaN();
  }
  // Adding 1.5 * 2^23 makes the FPU round to an integer, left in the low bits of the sum.
  constexpr float kShift = 12582912.0f;
  const float inverse = 127.0f / largest;
  for (int i = 0; i < kVectors; ++i) {
    codes[i] = (Ints)(x[i] * inverse + kShift) - std::bit_cast<int32_t>(kShift);
  }
  return largest / 127.0f;
}

// The sum of each 16 of a block's codes.
Ints sums_of_16(const Ints* codes) {
  Ints s[4];
  for (int i = 0; i < 4; ++i) {
    s[i] = (codes[4 * i] + codes[4 * i + 1]) + (codes[4 * i + 2] + codes[4 * i + 3]);
  }
  const Ints first = __builtin_shufflevector(s[0], s[1], 0, 4, 1, 5) +
                     __builtin_shufflevector(s[0], s[1], 2, 6, 3, 7);
  const Ints second = __builtin_shufflevector(s[2], s[3], 0, 4, 1, 5) +
                      __builtin_shufflevector(s[2], s[3], 2, 6, 3, 7);
  return __builtin_shufflevector(first, second, 0, 1, 4, 5) +
         __builtin_shufflevector(first, second, 2, 3, 6, 7);
}

// Where the arrays of Int8Row lie in its bytes.
struct RowInMaking {
  int8_t* codes;
  float *scales, *sums64, *sums32, *scaled32, *scaled16;
  int32_t *minus32, *minus16;

  RowInMaking(std::byte* row, int64_t cols) {
    const int64_t blocks = blocks_of(cols);
    codes = reinterpret_cast<int8_t*>(row);
    scales = reinterpret_cast<float*>(row + blocks * kBlock);
    sums64 = scales + blocks;
    sums32 = sums64 + blocks;
    scaled32 = sums32 + 2 * blocks;
    scaled16 = scaled32 + 2 * blocks;
    minus32 = reinterpret_cast<int32_t*>(scaled16 + 4 * blocks);
    minus16 = minus32 + 2 * blocks;
  }
};

// x to block b of the row; x becomes what that leaves of it.
void round_block(Floats* x, int64_t b, const RowInMaking& r) {
  Ints codes[kVectors];
  const float scale = round_inputs(x, codes);
  int8_t bytes[kBlock];
  const int32_t* flat = reinterpret_cast<const int32_t*>(codes);
  for (int i = 0; i < kBlock; ++i) bytes[i] = static_cast<int8_t>(flat[i]);
  std::memcpy(r.codes + b * kBlock, bytes, sizeof(bytes));
  for (int i = 0; i < kVectors; ++i) x[i] -= scale * __builtin_convertvector(codes[i], Floats);
  r.scales[b] = scale;
  const Ints quarters = sums_of_16(codes), minus = -quarters;
  const Floats scaled = scale * __builtin_convertvector(quarters, Floats);
  std::memcpy(r.minus16 + 4 * b, &minus, sizeof(minus));
  std::memcpy(r.scaled16 + 4 * b, &scaled, sizeof(scaled));
  for (int i = 0; i < 2; ++i) {
    const int32_t half = quarters[2 * i] + quarters[2 * i + 1];
    r.minus32[2 * b + i] = -half;
    r.scaled32[2 * b + i] = scale * static_cast<float>(half);
    r.sums32[2 * b + i] = static_cast<float>(half);
  }
  r.sums64[b] = r.sums32[2 * b] + r.sums32[2 * b + 1];
}

// Block b of x [cols], the last one filled up with zeros.
void copy_block(const float* x, int64_t cols, int64_t b, Floats* to) {
  const int64_t n = cols - b * kBlock;
  if (n >= kBlock) {
    std::memcpy(to, x + b * kBlock, kBlock * sizeof(float));
  } else {
    std::memset(to, 0, kBlock * sizeof(float));
    std::memcpy(to, x + b * kBlock, static_cast<size_t>(n) * sizeof(float));
  }
}

template <typename Weight>
float dot_in_chains(const Weight* w, int64_t n, const float* x) {
  float chains[4] = {};
  for (int64_t i = 0; i < n; ++i) {
    chains[i % 4] = std::fma(static_cast<float>(w[i]), x[i], chains[i % 4]);
  }
  return (chains[0] + chains[1]) + (chains[2] + chains[3]);
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

// add(acc, begin, n, group) over the pieces of a row.
template <typename Add>
float over_pieces(int group, int64_t cols, Add add) {
  const int64_t piece = piece_of(group);
  float acc = 0;
  for (int64_t i = 0; i < cols; i += piece) acc = add(acc, i, std::min(piece, cols - i), i / group);
  return acc;
}

}  // namespace

size_t int8_row_bytes(int64_t cols) {
  const size_t blocks = static_cast<size_t>(blocks_of(cols));
  return (blocks * (kBlock + 16 * sizeof(float)) + 63) / 64 * 64;
}

void round_row(const float* x, int64_t cols, std::byte* row) {
  const RowInMaking r(row, cols);
  Floats left[kVectors];
  for (int64_t b = 0; b < blocks_of(cols); ++b) {
    copy_block(x, cols, b, left);
    round_block(left, b, r);
  }
}

void split_row(const float* x, int64_t cols, std::byte* row) {
  const size_t bytes = int8_row_bytes(cols);
  const RowInMaking parts[kParts] = {{row, cols}, {row + bytes, cols}, {row + 2 * bytes, cols}};
  Floats left[kVectors];
  for (int64_t b = 0; b < blocks_of(cols); ++b) {
    copy_block(x, cols, b, left);
    for (const RowInMaking& part : parts) round_block(left, b, part);
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

float add_floats(float acc, const int8_t* codes, float scale, int64_t piece, const Int8Row& x,
                 int64_t begin) {
  int32_t product = 0;
  for (int64_t i = 0; i < piece; ++i) product += int32_t{codes[i]} * x.codes[begin + i];
  return std::fma(x.scales[begin / kBlock], scale * static_cast<float>(product), acc);
}

float add_floats(float acc, const float* codes, float scale, int64_t piece, const float* x) {
  return std::fma(scale, dot_in_chains(codes, piece, x), acc);
}

float add_block(float acc, const float* weights, int64_t n, const float* x) {
  return acc + dot_in_chains(weights, n, x);
}

float add_block(float acc, const BlockShape& shape, const Block& block, const Int8Row& x,
                int64_t begin) {
  const int window = std::min<int>(shape.frame, kBlock);
  for (int frame = 0; frame < shape.inputs; frame += shape.frame) {
    if (shape.minima) {
      const float* sums = (shape.piece == 16 ? x.scaled16 : x.scaled32) + begin / shape.piece;
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

float dot(BlockType type, const std::byte* blocks, int64_t cols, const Int8Row& x) {
  const BlockShape shape = block_shape(type);
  Block block;
  float acc = 0;
  for (int64_t i = 0; i < cols; i += shape.inputs, blocks += block_info(type).bytes) {
    unpack_block(type, blocks, &block);
    acc = add_block(acc, shape, block, x, i);
  }
  return acc;
}

float dot(const FloatsRow<int8_t>& w, int64_t cols, const Int8Row& x) {
  return over_pieces(w.group, cols, [&](float acc, int64_t i, int64_t n, int64_t g) {
    return add_floats(acc, w.codes + i, w.scales[g], n, x, i);
  });
}

float dot(const FloatsRow<float>& w, int64_t cols, const float* x) {
  return over_pieces(w.group, cols, [&](float acc, int64_t i, int64_t n, int64_t g) {
    return add_floats(acc, w.codes + i, w.scales[g], n, x + i);
  });
}

float dot(const AffineRow& w, int64_t cols, const Int8Row& x) {
  return over_pieces(w.group, cols, [&](float acc, int64_t i, int64_t n, int64_t g) {
    return add_piece(acc, w.codes + i, w.scales[g], w.biases[g], n, x, i);
  });
}

float dot(const float* w, int64_t cols, const float* x) {
  float acc = 0;
  for (int64_t i = 0; i < cols; i += kBlock) {
    acc = add_block(acc, w + i, std::min(kBlock, cols - i), x + i);
  }
  return acc;
}

}  // namespace flashmoe::quant
