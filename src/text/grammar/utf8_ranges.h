// Sets of code points as sequences of byte ranges in UTF-8.
#pragma once

#include <cstdint>
#include <vector>

#include "text/grammar/grammar.h"

namespace flashmoe::text::grammar {

struct ByteRange {
  uint8_t first = 0;
  uint8_t last = 0;  // inclusive
  auto operator<=>(const ByteRange&) const = default;
};

// Every string of bytes that takes one byte of each range in turn is a code point of the set, and
// every code point of the set is in exactly one of the sequences.
std::vector<std::vector<ByteRange>> utf8_sequences(const CodePointSet& set);

}  // namespace flashmoe::text::grammar
