// IQ types of 2 to 4 bits: weights are entries of codebooks, with signs of their own in 2 and 3
// bits. Where a scale is scale * (0.5 + s), it is kept as scale / 2 * (2 s + 1).
#include "quant/block_unpackers.h"
#include "quant/codebooks.h"

namespace flashmoe::quant {

namespace {

void put8(uint64_t entry, uint32_t signs, int8_t* values) {
  const uint64_t bytes = negate(entry, spread_bits(signs));
  std::memcpy(values, &bytes, sizeof(bytes));
}

void put8(uint32_t low, uint32_t high, uint32_t signs, int8_t* values) {
  put8(low | uint64_t{high} << 32, signs, values);
}

int8_t odd_scale(int code) { return static_cast<int8_t>(2 * code + 1); }

// Scales of 4 bits, the low half of a byte first.
void unpack_odd_scales(const uint8_t* bytes, int pieces, Block* block) {
  for (int p = 0; p < pieces; ++p) {
    block->sub_scales[p] = odd_scale(bytes[p / 2] >> (p % 2 * 4) & 15);
  }
}

}  // namespace

// [scale] then for each 32 inputs [entries: 4] [4 x 7 signs and, on top, a scale of 4 bits: 4]
void unpack_iq2_xxs(const uint8_t* bytes, Block* block) {
  block->scales[0] = load_f16(bytes) * 0.125f;
  for (int p = 0; p < 8; ++p) {
    const uint8_t* piece = bytes + 2 + 8 * p;
    const uint32_t word = load32(piece + 4);
    block->sub_scales[p] = odd_scale(static_cast<int>(word >> 28));
    for (int e = 0; e < 4; ++e) {
      put8(kIq2XxsBook.entries[piece[e]], eight_signs(word >> (7 * e) & 127),
           block->values + 32 * p + 8 * e);
    }
  }
}

// [scale] [entries of 9 bits and, above, 7 signs: 32 x 2] [scales: 8]
void unpack_iq2_xs(const uint8_t* bytes, Block* block) {
  block->scales[0] = load_f16(bytes) * 0.125f;
  unpack_odd_scales(bytes + 66, 16, block);
  for (int e = 0; e < 32; ++e) {
    const uint32_t code = load16(bytes + 2 + 2 * e);
    put8(kIq2XsBook.entries[code & 511], eight_signs(code >> 9), block->values + 8 * e);
  }
}

// [scale] [entries, low 8 bits: 32] [signs: 32] [entries, high 2 bits: 8] [scales: 8]
void unpack_iq2_s(const uint8_t* bytes, Block* block) {
  block->scales[0] = load_f16(bytes) * 0.125f;
  unpack_odd_scales(bytes + 74, 16, block);
  for (int e = 0; e < 32; ++e) {
    const uint32_t high = bytes[66 + e / 4] >> (e % 4 * 2) & 3;
    put8(kIq2SBook.entries[bytes[2 + e] | high << 8], bytes[34 + e], block->values + 8 * e);
  }
}

// [scale] [entries: 64] then for each 32 inputs [4 x 7 signs and, on top, a scale of 4 bits: 4]
void unpack_iq3_xxs(const uint8_t* bytes, Block* block) {
  block->scales[0] = load_f16(bytes) * 0.25f;
  for (int p = 0; p < 8; ++p) {
    const uint32_t word = load32(bytes + 66 + 4 * p);
    block->sub_scales[p] = odd_scale(static_cast<int>(word >> 28));
    for (int e = 0; e < 4; ++e) {
      const uint8_t* pair = bytes + 2 + 8 * p + 2 * e;
      put8(kIq3XxsBook.entries[pair[0]], kIq3XxsBook.entries[pair[1]],
           eight_signs(word >> (7 * e) & 127), block->values + 32 * p + 8 * e);
    }
  }
}

// [scale] [entries, low 8 bits: 64] [their high bits: 8] [signs: 32] [scales: 4]
void unpack_iq3_s(const uint8_t* bytes, Block* block) {
  block->scales[0] = load_f16(bytes);
  unpack_odd_scales(bytes + 106, 8, block);
  for (int e = 0; e < 32; ++e) {
    const uint32_t high = bytes[66 + e / 4] >> (e % 4 * 2);
    put8(kIq3SBook.entries[bytes[2 + 2 * e] | (high & 1) << 8],
         kIq3SBook.entries[bytes[3 + 2 * e] | (high & 2) << 7], bytes[74 + e],
         block->values + 8 * e);
  }
}

// As Q4_0, with a table of values.
void unpack_iq4_nl(const uint8_t* bytes, Block* block) {
  set_sub_scales(1, block);
  block->scales[0] = load_f16(bytes);
  for (int i = 0; i < 16; ++i) {
    block->values[i] = kIq4Values[bytes[2 + i] & 15];
    block->values[16 + i] = kIq4Values[bytes[2 + i] >> 4];
  }
}

// [scale] [scales, high 2 bits: 2] [their low 4 bits: 4] [codes: 8 x 16, each as in IQ4_NL]
void unpack_iq4_xs(const uint8_t* bytes, Block* block) {
  block->scales[0] = load_f16(bytes);
  const uint32_t high = load16(bytes + 2), low = load32(bytes + 4);
  for (int p = 0; p < 8; ++p) {
    const uint32_t scale = (low >> (4 * p) & 15) | (high >> (2 * p) & 3) << 4;
    block->sub_scales[p] = static_cast<int8_t>(static_cast<int>(scale) - 32);
    const uint8_t* codes = bytes + 8 + 16 * p;
    for (int i = 0; i < 16; ++i) {
      block->values[32 * p + i] = kIq4Values[codes[i] & 15];
      block->values[32 * p + 16 + i] = kIq4Values[codes[i] >> 4];
    }
  }
}

}  // namespace flashmoe::quant
