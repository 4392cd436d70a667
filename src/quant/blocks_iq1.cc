// IQ1 types: entries of -1, 0 and 1, all moved up or down by an eighth. Values are 8 times that,
// and the scale an eighth.
#include "quant/block_unpackers.h"
#include "quant/codebooks.h"

namespace flashmoe::quant {

namespace {

void put8(uint64_t entry, bool down, int8_t* values) {
  for (int i = 0; i < 8; ++i) {
    values[i] = static_cast<int8_t>(static_cast<int8_t>(entry >> (8 * i)) + (down ? -1 : 1));
  }
}

}  // namespace

// [scale] [entries, low 8 bits: 32] then for each 32 inputs [4 x 3 high bits, a scale of 3 bits, a
// sign of the move: 2]
void unpack_iq1_s(const uint8_t* bytes, Block* block) {
  block->scales[0] = load_f16(bytes) * 0.125f;
  for (int p = 0; p < 8; ++p) {
    const uint32_t word = load16(bytes + 34 + 2 * p);
    block->sub_scales[p] = static_cast<int8_t>(2 * (word >> 12 & 7) + 1);
    for (int e = 0; e < 4; ++e) {
      const uint32_t entry = bytes[2 + 4 * p + e] | (word >> (3 * e) & 7) << 8;
      put8(kIq1Book.entries[entry], word >> 15 != 0, block->values + 32 * p + 8 * e);
    }
  }
}

// [entries, low 8 bits: 32] [for each entry 3 high bits and the sign of its move: 16] [4 x 2: 4
// scales of 3 bits and, on top, 4 bits of the f16 scale]
void unpack_iq1_m(const uint8_t* bytes, Block* block) {
  uint32_t scale = 0;
  for (int w = 0; w < 4; ++w) {
    const uint32_t word = load16(bytes + 48 + 2 * w);
    scale |= word >> 12 << (4 * w);
    for (int p = 0; p < 4; ++p) {
      block->sub_scales[4 * w + p] = static_cast<int8_t>(2 * (word >> (3 * p) & 7) + 1);
    }
  }
  block->scales[0] = to_float(F16{static_cast<uint16_t>(scale)}) * 0.125f;
  for (int e = 0; e < 32; ++e) {
    const uint32_t high = bytes[32 + e / 2] >> (e % 2 * 4) & 15u;
    put8(kIq1Book.entries[bytes[e] | (high & 7) << 8], high >> 3 != 0, block->values + 8 * e);
  }
}

}  // namespace flashmoe::quant
