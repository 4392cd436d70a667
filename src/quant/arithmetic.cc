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

float sum_of_32(const float* x) {
  float s[8];
  for (int l = 0; l < 8; ++l) s[l] = ((x[l] + x[l + 8]) + x[l + 16]) + x[l + 24];
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

}  // namespace

size_t int8_row_bytes(int64_t cols) {
  const size_t blocks = static_cast<size_t>(blocks_of(cols));
  return (blocks * (kBlock + 4 * sizeof(float)) + 63) / 64 * 64;
}

void round_row(const float* x, int64_t cols, std::byte* row) {
  const int64_t blocks = blocks_of(cols);
  int8_t* codes = reinterpret_cast<int8_t*>(row);
  float* scales = reinterpret_cast<float*>(row + blocks * kBlock);
  float* sums64 = scales + blocks;
  float* sums32 = sums64 + blocks;
  float buffer[kBlock];
  for (int64_t b = 0; b < blocks; ++b, codes += kBlock) {
    scales[b] = round_block(padded(x + b * kBlock, cols - b * kBlock, buffer), codes);
    const int32_t low = sum(codes, 32), high = sum(codes + 32, 32);
    sums32[2 * b] = static_cast<float>(low);
    sums32[2 * b + 1] = static_cast<float>(high);
    sums64[b] = static_cast<float>(low + high);
  }
}

size_t float_row_bytes(int64_t cols) {
  const size_t blocks = static_cast<size_t>(blocks_of(cols));
  return (blocks * (kBlock + 3) * sizeof(float) + 63) / 64 * 64;
}

void load_row(const float* x, int64_t cols, std::byte* row) {
  const int64_t blocks = blocks_of(cols);
  float* values = reinterpret_cast<float*>(row);
  float* sums64 = values + blocks * kBlock;
  float* sums32 = sums64 + blocks;
  std::fill(std::copy_n(x, cols, values), sums64, 0.0f);
  for (int64_t b = 0; b < blocks; ++b) {
    sums32[2 * b] = sum_of_32(values + b * kBlock);
    sums32[2 * b + 1] = sum_of_32(values + b * kBlock + 32);
    sums64[b] = sums32[2 * b] + sums32[2 * b + 1];
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

float add_block(float acc, const float* weights, int64_t n, const FloatRow& x, int64_t begin) {
  return acc + dot_in_chains(weights, n, x.values + begin);
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
