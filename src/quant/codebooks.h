// The codebooks of the IQ and FP4 types. Private to quant and the kernels.
#pragma once

#include <bit>
#include <cstdint>

namespace flashmoe::quant {

template <typename Entry, int kEntries>
struct Book {
  Entry entries[kEntries];
};

// Entries of 8 weights, a signed byte each, the first lowest. Those of IQ1 are 8 times -1, 0 or 1.
extern const Book<uint64_t, 2048> kIq1Book;
extern const Book<uint64_t, 256> kIq2XxsBook;
extern const Book<uint64_t, 512> kIq2XsBook;
extern const Book<uint64_t, 1024> kIq2SBook;
// Entries of 4.
extern const Book<uint32_t, 256> kIq3XxsBook;
extern const Book<uint32_t, 512> kIq3SBook;
// The scales of MXFP4 (E8M0) and NVFP4 (E4M3 without its sign, NaN as 0), halved since the values
// below are doubled.
extern const Book<float, 256> kHalfE8m0;
extern const Book<float, 256> kHalfE4m3;

inline constexpr int8_t kIq4Values[16] = {-127, -104, -83, -65, -49, -35, -22, -10,
                                          1,    13,   25,  38,  53,  69,  89,  113};
inline constexpr int8_t kFp4Values[16] = {0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12};

// Seven signs in 7 bits: the eighth makes their number even. Bit i set: weight i is negative.
constexpr uint32_t eight_signs(uint32_t seven) {
  return seven | (static_cast<uint32_t>(std::popcount(seven)) & 1) << 7;
}

// Bit i of `bits` (8 bits) spread to byte i: 0 or 0xff.
constexpr uint64_t spread_bits(uint32_t bits) {
  const uint64_t copies = uint64_t{bits} * 0x0101010101010101u & 0x8040201008040201u;
  return ((copies + 0x7f7f7f7f7f7f7f7fu) >> 7 & 0x0101010101010101u) * 0xff;
}

// The bytes of an entry, none of them 0 or -128, negated where `mask` is 0xff.
constexpr uint64_t negate(uint64_t bytes, uint64_t mask) {
  return (bytes ^ mask) + (mask & 0x0101010101010101u);
}

}  // namespace flashmoe::quant
