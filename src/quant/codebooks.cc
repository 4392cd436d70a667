#include "quant/codebooks.h"

#include <cstddef>

namespace flashmoe::quant {

namespace {

#include "quant/codebooks.inc"

// Indices of kBits bits to the bytes of `levels`.
template <typename Entry, int kBits, size_t kEntries, size_t kLevels>
constexpr std::array<Entry, kEntries> expand(const uint16_t (&indices)[kEntries],
                                             const int8_t (&levels)[kLevels]) {
  std::array<Entry, kEntries> book{};
  for (size_t e = 0; e < kEntries; ++e) {
    for (size_t i = 0; i < sizeof(Entry); ++i) {
      const unsigned index = indices[e] >> (kBits * i) & ((1u << kBits) - 1);
      book[e] |= Entry{static_cast<uint8_t>(levels[index])} << (8 * i);
    }
  }
  return book;
}

constexpr int8_t kIq1Levels[] = {-8, 0, 8};
constexpr int8_t kIq2Levels[] = {8, 25, 43};
constexpr int8_t kIq3XxsLevels[] = {4, 12, 20, 28, 36, 44, 52, 62};
constexpr int8_t kIq3SLevels[] = {1, 3, 5, 7, 9, 11, 13, 15};

}  // namespace

constexpr std::array<uint64_t, 2048> kIq1Book = expand<uint64_t, 2>(kIq1Indices, kIq1Levels);
constexpr std::array<uint64_t, 256> kIq2XxsBook = expand<uint64_t, 2>(kIq2XxsIndices, kIq2Levels);
constexpr std::array<uint64_t, 512> kIq2XsBook = expand<uint64_t, 2>(kIq2XsIndices, kIq2Levels);
constexpr std::array<uint64_t, 1024> kIq2SBook = expand<uint64_t, 2>(kIq2SIndices, kIq2Levels);
constexpr std::array<uint32_t, 256> kIq3XxsBook =
    expand<uint32_t, 4>(kIq3XxsIndices, kIq3XxsLevels);
constexpr std::array<uint32_t, 512> kIq3SBook = expand<uint32_t, 4>(kIq3SIndices, kIq3SLevels);

}  // namespace flashmoe::quant
