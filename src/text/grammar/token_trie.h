// The tokens of a vocabulary by their bytes, laid out for walking all of them in one pass.
#pragma once

#include <cstdint>
#include <string_view>
#include <utility>
#include <vector>

namespace flashmoe::text::grammar {

// Preorder: a node's children follow it, each with all of its own below it.
class TokenTrie {
 public:
  struct Node {
    int32_t token;   // that ends here, or -1
    int32_t skip;    // index of the next node that is not below this one
    uint16_t depth;  // bytes from the root; the first byte has depth 1
    uint8_t byte;
  };

  // Tokens with their bytes, which are not empty and at most 65535.
  explicit TokenTrie(std::vector<std::pair<std::string_view, int32_t>> tokens);

  const std::vector<Node>& nodes() const { return nodes_; }
  int max_depth() const { return max_depth_; }

 private:
  std::vector<Node> nodes_;
  int max_depth_ = 0;
};

}  // namespace flashmoe::text::grammar
