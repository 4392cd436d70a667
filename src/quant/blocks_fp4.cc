// 4-bit floats (E2M1, their values doubled to be whole) with scales of 8 bits.
#include "quant/block_unpackers.h"
#include "quant/codebooks.h"

namespace flashmoe::quant {

// [scale, E8M0] [codes: 16]; input i < 16 has the low half of byte i, input 16 + i its high half.
void unpack_mxfp4(const uint8_t* bytes, Block* block) {
  set_sub_scales(1, block);
  block->scales[0] = kHalfE8m0.entries[bytes[0]];
  for (int i = 0; i < 16; ++i) {
    block->values[i] = kFp4Values[bytes[1 + i] & 15];
    block->values[16 + i] = kFp4Values[bytes[1 + i] >> 4];
  }
}

// [scales of 16 inputs, E4M3: 4] [codes: 4 x 8, halves as above within 16 inputs]
void unpack_nvfp4(const uint8_t* bytes, Block* block) {
  set_sub_scales(4, block);
  for (int p = 0; p < 4; ++p) {
    block->scales[p] = kHalfE4m3.entries[bytes[p]];
    const uint8_t* codes = bytes + 4 + 8 * p;
    for (int i = 0; i < 8; ++i) {
      block->values[16 * p + i] = kFp4Values[codes[i] & 15];
      block->values[16 * p + 8 + i] = kFp4Values[codes[i] >> 4];
    }
  }
}

}  // namespace flashmoe::quant
