#include "text/grammar/utf8_ranges.h"

#include <algorithm>
#include <string>

#include "text/utf8.h"

namespace flashmoe::text::grammar {

namespace {

// Both ends have the same length in UTF-8.
void append_same_length(char32_t first, char32_t last, std::vector<std::vector<ByteRange>>* out) {
  std::string low, high;
  utf8_append(first, &low);
  utf8_append(last, &high);
  // Split where the tails below a byte that differs are not full.
  for (size_t tail = 1; tail < low.size(); ++tail) {
    const char32_t mask = (char32_t{1} << (6 * tail)) - 1;
    if ((first & ~mask) == (last & ~mask)) continue;
    if ((first & mask) != 0) {
      append_same_length(first, first | mask, out);
      append_same_length((first | mask) + 1, last, out);
      return;
    }
    if ((last & mask) != mask) {
      append_same_length(first, (last & ~mask) - 1, out);
      append_same_length(last & ~mask, last, out);
      return;
    }
  }
  std::vector<ByteRange>& sequence = out->emplace_back();
  for (size_t i = 0; i < low.size(); ++i) {
    sequence.push_back({static_cast<uint8_t>(low[i]), static_cast<uint8_t>(high[i])});
  }
}

}  // namespace

std::vector<std::vector<ByteRange>> utf8_sequences(const CodePointSet& set) {
  std::vector<std::vector<ByteRange>> sequences;
  for (const CodePointRange& range : set) {
    char32_t first = range.first;
    for (const char32_t end :
         {char32_t{0x7f}, char32_t{0x7ff}, char32_t{0xffff}, char32_t{0x10ffff}}) {
      if (first > end || first > range.last) continue;
      append_same_length(first, std::min(range.last, end), &sequences);
      first = end + 1;
    }
  }
  return sequences;
}

}  // namespace flashmoe::text::grammar
