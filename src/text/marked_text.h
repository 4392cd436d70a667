// Text whose bytes are marked as the template's own or as coming from a message. Made by
// ChatTemplate, read by Tokenizer: only bytes of the template may form special tokens.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

namespace flashmoe::text {

struct MarkedText {
  // Half-open byte ranges of `text`, ascending and disjoint, that the template itself wrote.
  struct Range {
    size_t begin = 0;
    size_t end = 0;
    bool operator==(const Range&) const = default;
  };
  std::string text;
  std::vector<Range> from_template;
};

}  // namespace flashmoe::text
