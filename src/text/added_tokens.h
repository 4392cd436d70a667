// Finds added tokens (special ones and others) in text, as `tokenizers` does: leftmost, longest,
// then stretched over white space. Owns the search, not what becomes of the text between.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "text/pre_tokenizer_pattern.h"
#include "text/tokenizer_spec.h"

namespace flashmoe::text {

class AddedTokenFinder {
 public:
  // A piece of text: an added token, or text between with id -1.
  struct Span {
    size_t begin = 0;
    size_t end = 0;
    int32_t id = -1;
  };
  // Says for a byte of the text whether the template wrote it.
  using IsTrusted = std::function<bool(size_t)>;

  // `tokens` with the text to match in `content`. Throws when two have the same.
  AddedTokenFinder(const std::vector<AddedToken>& tokens, const std::string& name);

  bool empty() const { return tokens_.empty(); }
  bool has_special() const { return has_special_; }
  // Special tokens match only where every byte is trusted. One that is not stays text, and hides
  // no trusted byte from the search.
  void find(std::string_view valid_utf8, const IsTrusted& is_trusted,
            std::vector<Span>* spans) const;

 private:
  // A trie as first-child, next-sibling lists.
  struct Node {
    uint32_t child = 0, sibling = 0;  // 0: none
    uint32_t token = kNone;           // that ends here
    unsigned char byte = 0;
  };
  static constexpr uint32_t kNone = UINT32_MAX;

  uint32_t child_of(uint32_t node, unsigned char byte) const;
  // The longest token at `pos`, or nullptr.
  const AddedToken* match(std::string_view text, size_t pos) const;
  bool is_word(std::string_view text, size_t pos) const;
  bool stands_alone(std::string_view text, size_t begin, size_t end) const;

  std::vector<AddedToken> tokens_;
  std::vector<Node> nodes_;      // nodes_[0] is the root
  std::vector<bool> may_begin_;  // by first byte
  bool has_special_ = false;
  Pattern word_;  // one word character
};

}  // namespace flashmoe::text
