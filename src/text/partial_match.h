// How much of a text's end may be the beginning of a tag that is still to come.
#pragma once

#include <algorithm>
#include <cstddef>
#include <string_view>

namespace flashmoe::text {

// The most bytes at the end of `text` that `tag` begins with, without being all of it.
inline size_t partial_match(std::string_view text, std::string_view tag) {
  for (size_t bytes = std::min(text.size(), tag.size() - 1); bytes > 0; --bytes) {
    if (tag.starts_with(text.substr(text.size() - bytes))) return bytes;
  }
  return 0;
}

}  // namespace flashmoe::text
