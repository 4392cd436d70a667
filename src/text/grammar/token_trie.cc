#include "text/grammar/token_trie.h"

#include <algorithm>

#include "base/check.h"

namespace flashmoe::text::grammar {

TokenTrie::TokenTrie(std::vector<std::pair<std::string_view, int32_t>> tokens) {
  if (!std::is_sorted(tokens.begin(), tokens.end())) std::sort(tokens.begin(), tokens.end());
  std::string_view last;
  std::vector<int32_t> path;  // nodes from the root to the last one
  const auto leave = [&](size_t depth) {
    for (; path.size() > depth; path.pop_back()) {
      nodes_[static_cast<size_t>(path.back())].skip = static_cast<int32_t>(nodes_.size());
    }
  };
  const auto enter = [&](uint8_t byte) {
    path.push_back(static_cast<int32_t>(nodes_.size()));
    nodes_.push_back({-1, 0, static_cast<uint16_t>(path.size()), byte});
  };
  for (const auto& [bytes, token] : tokens) {
    CHECK(!bytes.empty() && bytes.size() <= UINT16_MAX);
    if (bytes == last) {
      // A second token of the same bytes gets a node of its own beside the first.
      leave(bytes.size() - 1);
      enter(static_cast<uint8_t>(bytes.back()));
    } else {
      const auto [end, unused] =
          std::mismatch(bytes.begin(), bytes.end(), last.begin(), last.end());
      const auto common = static_cast<size_t>(end - bytes.begin());
      leave(common);
      for (size_t i = common; i < bytes.size(); ++i) enter(static_cast<uint8_t>(bytes[i]));
    }
    nodes_[static_cast<size_t>(path.back())].token = token;
    max_depth_ = std::max(max_depth_, static_cast<int>(bytes.size()));
    last = bytes;
  }
  leave(0);
}

}  // namespace flashmoe::text::grammar
