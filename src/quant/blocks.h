// What the bytes of GGUF's blocks mean. Owns the way from a block to whole numbers and scales, for
// every type; sizes lie in quant/format.h, products in quant/arithmetic.h.
//
// A block consists of frames that share a float scale, a frame of pieces that share whole-number
// scales. A weight is
//   (scale * sub_scale) * value                              without minima
//   (scale * sub_scale) * value + bias * sub_min             with them
// where each product and the sum is rounded to float32; `scale * sub_scale` and `bias * sub_min`
// are exact. These are the bits of the reference implementation's dequantisation. Values of the
// types with codebooks are made whole by a power of two that the scale takes back.
#pragma once

#include <cstddef>
#include <cstdint>

#include "quant/format.h"

namespace flashmoe::quant {

constexpr int kMostBlockInputs = 256;
constexpr int kMostPieces = 16;
constexpr int kMostFrames = 4;

struct BlockShape {
  int inputs;   // of a block
  int frame;    // inputs that share a float scale; a divisor of `inputs`
  int piece;    // inputs that share whole-number scales: 16 or 32; a divisor of `frame`
  bool minima;  // whether there are biases and minima

  int frames() const { return inputs / frame; }
  int pieces() const { return inputs / piece; }
};

BlockShape block_shape(BlockType type);

struct Block {
  int8_t values[kMostBlockInputs];
  int8_t sub_scales[kMostPieces];  // 1 where the type has none
  uint8_t sub_mins[kMostPieces];
  float scales[kMostFrames];
  float biases[kMostFrames];
};

// `bytes` may lie at any address. Fields that the type does not have are left as they are.
void unpack_block(BlockType type, const std::byte* bytes, Block* block);

// One block as weights, out [inputs].
void decode_block(BlockType type, const std::byte* bytes, float* out);

}  // namespace flashmoe::quant
