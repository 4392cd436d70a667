// K types: 256 inputs, an f16 scale (and an f16 scale of the minima), and whole-number scales of
// pieces of 16 or 32 inputs.
#include "quant/block_unpackers.h"

namespace flashmoe::quant {

namespace {

// Fields of `width` bits: bits [width k, width k + width) of 32 bytes are of inputs 32 k to
// 32 k + 31 of their 256 / width bytes' share. `add` receives input and field.
template <int kWidth>
void for_fields(const uint8_t* bytes, auto add) {
  constexpr int kFields = 8 / kWidth;
  for (int i = 0; i < 256; ++i) {
    const int run = i / 32;
    const int byte = run / kFields * 32 + i % 32;
    add(i, bytes[byte] >> (run % kFields * kWidth) & ((1 << kWidth) - 1));
  }
}

// Eight scales and eight minima of 6 bits in 12 bytes: the first four in six bits of their byte;
// of the others, the low four bits lie in the last four bytes and the rest in the spare two bits.
void unpack_scales_and_mins(const uint8_t* bytes, Block* block) {
  for (int j = 0; j < 4; ++j) {
    block->sub_scales[j] = static_cast<int8_t>(bytes[j] & 63);
    block->sub_mins[j] = bytes[4 + j] & 63;
    block->sub_scales[4 + j] = static_cast<int8_t>((bytes[8 + j] & 15) | bytes[j] >> 6 << 4);
    block->sub_mins[4 + j] = static_cast<uint8_t>(bytes[8 + j] >> 4 | bytes[4 + j] >> 6 << 4);
  }
}

void unpack_scale_and_bias(const uint8_t* bytes, Block* block) {
  block->scales[0] = load_f16(bytes);
  block->biases[0] = -load_f16(bytes + 2);
}

}  // namespace

// [scales and minima, 4 bits each: 16] [codes, 2 bits: 64] [scale] [scale of minima]
void unpack_q2_k(const uint8_t* bytes, Block* block) {
  for (int p = 0; p < 16; ++p) {
    block->sub_scales[p] = static_cast<int8_t>(bytes[p] & 15);
    block->sub_mins[p] = bytes[p] >> 4;
  }
  for_fields<2>(bytes + 16, [&](int i, int f) { block->values[i] = static_cast<int8_t>(f); });
  unpack_scale_and_bias(bytes + 80, block);
}

// [third bits: 32] [codes, low 2 bits: 64] [scales, 6 bits: 12] [scale]
void unpack_q3_k(const uint8_t* bytes, Block* block) {
  for_fields<2>(bytes + 32, [&](int i, int f) { block->values[i] = static_cast<int8_t>(f - 4); });
  for_fields<1>(bytes, [&](int i, int f) { block->values[i] += static_cast<int8_t>(4 * f); });
  const uint8_t* scales = bytes + 96;
  for (int p = 0; p < 16; ++p) {
    const int low = scales[p % 8] >> (p / 8 * 4) & 15, high = scales[8 + p % 4] >> (p / 4 * 2) & 3;
    block->sub_scales[p] = static_cast<int8_t>((low | high << 4) - 32);
  }
  block->scales[0] = load_f16(bytes + 108);
}

// [scale] [scale of minima] [scales and minima: 12] [codes, 4 bits: 128]
void unpack_q4_k(const uint8_t* bytes, Block* block) {
  unpack_scale_and_bias(bytes, block);
  unpack_scales_and_mins(bytes + 4, block);
  for_fields<4>(bytes + 16, [&](int i, int f) { block->values[i] = static_cast<int8_t>(f); });
}

// [scale] [scale of minima] [scales and minima: 12] [fifth bits: 32] [codes, low 4 bits: 128]
void unpack_q5_k(const uint8_t* bytes, Block* block) {
  unpack_scale_and_bias(bytes, block);
  unpack_scales_and_mins(bytes + 4, block);
  for_fields<4>(bytes + 48, [&](int i, int f) { block->values[i] = static_cast<int8_t>(f); });
  for_fields<1>(bytes + 16, [&](int i, int f) { block->values[i] += static_cast<int8_t>(16 * f); });
}

// [codes, low 4 bits: 128] [their high 2 bits: 64] [scales, int8: 16] [scale]. Low halves come in
// runs of 64 bytes.
void unpack_q6_k(const uint8_t* bytes, Block* block) {
  for (int i = 0; i < 256; ++i) {
    const int low = bytes[i / 128 * 64 + i % 64] >> (i % 128 / 64 * 4) & 15;
    block->values[i] = static_cast<int8_t>(low - 32);
  }
  for_fields<2>(bytes + 128,
                [&](int i, int f) { block->values[i] += static_cast<int8_t>(16 * f); });
  std::memcpy(block->sub_scales, bytes + 192, 16);
  block->scales[0] = load_f16(bytes + 208);
}

}  // namespace flashmoe::quant
