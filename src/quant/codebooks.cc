#include "quant/codebooks.h"

#include <bit>
#include <cstddef>

namespace flashmoe::quant {

namespace {

#include "quant/codebooks.inc"

// Indices of kBits bits to the bytes of `levels`.
template <typename Entry, int kBits, int kEntries, size_t kLevels>
constexpr Book<Entry, kEntries> expand(const uint16_t (&indices)[kEntries],
                                       const int8_t (&levels)[kLevels]) {
  Book<Entry, kEntries> book{};
  for (int e = 0; e < kEntries; ++e) {
    for (size_t i = 0; i < sizeof(Entry); ++i) {
      const unsigned index = indices[e] >> (kBits * i) & ((1u << kBits) - 1);
      book.entries[e] |= Entry{static_cast<uint8_t>(levels[index])} << (8 * i);
    }
  }
  return book;
}

constexpr int8_t kIq1Levels[] = {-8, 0, 8};
constexpr int8_t kIq2Levels[] = {8, 25, 43};
constexpr int8_t kIq3XxsLevels[] = {4, 12, 20, 28, 36, 44, 52, 62};
constexpr int8_t kIq3SLevels[] = {1, 3, 5, 7, 9, 11, 13, 15};

// Half of 2^(exponent - 127).
constexpr float half_of_e8m0(uint32_t exponent) {
  return std::bit_cast<float>(exponent < 2 ? 0x00200000u << exponent : (exponent - 1) << 23);
}

constexpr float half_of_e4m3(uint32_t code) {
  if (code == 0x7f) return 0;
  const uint32_t exponent = code >> 3 & 15, mantissa = code & 7;
  if (exponent == 0) return static_cast<float>(mantissa) * 0x1p-10f;
  return std::bit_cast<float>((exponent - 8 + 127) << 23 | mantissa << 20);
}

constexpr Book<float, 256> tabulate(float (*of)(uint32_t)) {
  Book<float, 256> book{};
  for (uint32_t i = 0; i < 256; ++i) book.entries[i] = of(i);
  return book;
}

}  // namespace

constexpr Book<uint64_t, 2048> kIq1Book = expand<uint64_t, 2>(kIq1Indices, kIq1Levels);
constexpr Book<uint64_t, 256> kIq2XxsBook = expand<uint64_t, 2>(kIq2XxsIndices, kIq2Levels);
constexpr Book<uint64_t, 512> kIq2XsBook = expand<uint64_t, 2>(kIq2XsIndices, kIq2Levels);
constexpr Book<uint64_t, 1024> kIq2SBook = expand<uint64_t, 2>(kIq2SIndices, kIq2Levels);
constexpr Book<uint32_t, 256> kIq3XxsBook = expand<uint32_t, 4>(kIq3XxsIndices, kIq3XxsLevels);
constexpr Book<uint32_t, 512> kIq3SBook = expand<uint32_t, 4>(kIq3SIndices, kIq3SLevels);
constexpr Book<float, 256> kHalfE8m0 = tabulate(half_of_e8m0);
constexpr Book<float, 256> kHalfE4m3 = tabulate(half_of_e4m3);

}  // namespace flashmoe::quant
