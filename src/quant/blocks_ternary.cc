// TQ types: 256 weights of -1, 0 and 1 with one f16 scale.
#include "quant/block_unpackers.h"

namespace flashmoe::quant {

namespace {

// The digits of `n` bytes, first digit of all bytes, then the second: each byte is a fraction of
// 256 whose base-3 digits are the codes, first the highest.
int8_t* unpack_digits(const uint8_t* bytes, int n, int digits, int8_t* values) {
  uint8_t factor = 1;
  for (int d = 0; d < digits; ++d, factor = static_cast<uint8_t>(3 * factor)) {
    for (int i = 0; i < n; ++i) {
      const auto rest = static_cast<uint8_t>(bytes[i] * factor);
      *values++ = static_cast<int8_t>((rest * 3 >> 8) - 1);
    }
  }
  return values;
}

}  // namespace

// [5 digits a byte: 32, then 16] [4 digits a byte: 4] [scale]
void unpack_tq1_0(const uint8_t* bytes, Block* block) {
  set_sub_scales(8, block);
  int8_t* values = unpack_digits(bytes, 32, 5, block->values);
  values = unpack_digits(bytes + 32, 16, 5, values);
  unpack_digits(bytes + 48, 4, 4, values);
  block->scales[0] = load_f16(bytes + 52);
}

// [codes, 2 bits: 64] [scale]
void unpack_tq2_0(const uint8_t* bytes, Block* block) {
  set_sub_scales(8, block);
  for (int i = 0; i < 256; ++i) {
    const int code = bytes[i / 128 * 32 + i % 32] >> (i % 128 / 32 * 2) & 3;
    block->values[i] = static_cast<int8_t>(code - 1);
  }
  block->scales[0] = load_f16(bytes + 64);
}

}  // namespace flashmoe::quant
