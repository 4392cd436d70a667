// Floats of 4 and 8 bits, and scales that are powers of two. Owns what their bits mean.
#pragma once

#include <bit>
#include <cstdint>
#include <limits>

namespace flashmoe::quant {

// e2m1: a sign, two bits of exponent, one of mantissa: 0, 0.5, 1, 1.5, 2, 3, 4, 6. Twice the value
// is a whole number.
inline constexpr int8_t kE2m1Doubled[16] = {0, 1,  2,  3,  4,  6,  8,  12,
                                            0, -1, -2, -3, -4, -6, -8, -12};

// e4m3: a sign, four bits of exponent, three of mantissa; no infinities, all ones is NaN.
constexpr bool is_e4m3_nan(uint8_t code) { return (code & 0x7f) == 0x7f; }
constexpr float e4m3_to_float(uint8_t code) {
  const int exponent = (code >> 3) & 15, mantissa = code & 7;
  const uint32_t sign = uint32_t{code & 0x80u} << 24;
  if (is_e4m3_nan(code)) return std::numeric_limits<float>::quiet_NaN();
  const float magnitude = exponent == 0
                              ? static_cast<float>(mantissa) * 0x1p-9f
                              : std::bit_cast<float>((static_cast<uint32_t>(exponent) + 120) << 23 |
                                                     static_cast<uint32_t>(mantissa) << 20);
  return std::bit_cast<float>(std::bit_cast<uint32_t>(magnitude) | sign);
}

// e8m0: 2^(code - 127); all ones is NaN.
constexpr float e8m0_to_float(uint8_t code) {
  if (code == 255) return std::numeric_limits<float>::quiet_NaN();
  return std::bit_cast<float>(code == 0 ? 0x00400000u : uint32_t{code} << 23);
}

}  // namespace flashmoe::quant
