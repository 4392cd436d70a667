// Blocks of 32 inputs with one f16 scale, and in Q4_1 and Q5_1 an f16 bias. Input i < 16 has the
// low half of byte i, input 16 + i its high half; fifth bits lie in a word of 32.
#include "quant/block_unpackers.h"

namespace flashmoe::quant {

namespace {

void unpack_nibbles(const uint8_t* codes, int offset, int8_t* values) {
  for (int i = 0; i < 16; ++i) {
    values[i] = static_cast<int8_t>((codes[i] & 15) - offset);
    values[16 + i] = static_cast<int8_t>((codes[i] >> 4) - offset);
  }
}

void add_fifth_bits(const uint8_t* bits, int8_t* values) {
  const uint32_t word = load32(bits);
  for (int i = 0; i < 32; ++i) values[i] = static_cast<int8_t>(values[i] + (word >> i & 1) * 16);
}

}  // namespace

void unpack_q4_0(const uint8_t* bytes, Block* block) {
  set_sub_scales(1, block);
  block->scales[0] = load_f16(bytes);
  unpack_nibbles(bytes + 2, 8, block->values);
}

void unpack_q4_1(const uint8_t* bytes, Block* block) {
  set_sub_scales(1, block);
  block->sub_mins[0] = 1;
  block->scales[0] = load_f16(bytes);
  block->biases[0] = load_f16(bytes + 2);
  unpack_nibbles(bytes + 4, 0, block->values);
}

void unpack_q5_0(const uint8_t* bytes, Block* block) {
  set_sub_scales(1, block);
  block->scales[0] = load_f16(bytes);
  unpack_nibbles(bytes + 6, 16, block->values);
  add_fifth_bits(bytes + 2, block->values);
}

void unpack_q5_1(const uint8_t* bytes, Block* block) {
  set_sub_scales(1, block);
  block->sub_mins[0] = 1;
  block->scales[0] = load_f16(bytes);
  block->biases[0] = load_f16(bytes + 2);
  unpack_nibbles(bytes + 8, 0, block->values);
  add_fifth_bits(bytes + 4, block->values);
}

void unpack_q8_0(const uint8_t* bytes, Block* block) {
  set_sub_scales(1, block);
  block->scales[0] = load_f16(bytes);
  std::memcpy(block->values, bytes + 2, 32);
}

}  // namespace flashmoe::quant
