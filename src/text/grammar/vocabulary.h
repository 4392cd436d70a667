// What matching a grammar needs to know of a tokenizer: all tokens that stand for text in a trie,
// and tables of the tokens that lie wholly within a set of characters. Made once per tokenizer and
// shared by all grammars. Special tokens are no text: they match nothing but their own names.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "text/grammar/grammar.h"
#include "text/grammar/token_trie.h"
#include "text/tokenizer.h"

namespace flashmoe::text {

// May be used from several threads.
class GrammarVocabulary {
 public:
  // The tokenizer must outlive it. Throws kUnsupported when the tokenizer cannot spell every text
  // byte by byte: then an answer could not always be completed.
  explicit GrammarVocabulary(const Tokenizer& tokenizer);

  int32_t size() const { return tokenizer_->vocab_size(); }
  size_t mask_words() const { return (static_cast<size_t>(size()) + 63) / 64; }
  std::string_view bytes(int32_t token) const { return tokenizer_->token_bytes(token); }
  bool is_special(int32_t token) const { return tokenizer_->is_special(token); }
  // The special token of that name.
  std::optional<int32_t> special(std::string_view name) const;
  const grammar::TokenTrie& trie() const { return *trie_; }

  // The tokens that are at most `max_chars` characters, all of one set; and a trie of the others.
  struct Slice {
    std::vector<uint64_t> tokens;  // bit set, mask_words() long
    grammar::TokenTrie others;
  };
  // For the largest max_chars that is at most `chars` and that tables are made for; nothing if none
  // is.
  const Slice* slice(const CodePointSet& set, int64_t chars) const;

 private:
  const Tokenizer* tokenizer_;
  std::unique_ptr<grammar::TokenTrie> trie_;

  struct SetOrder {
    bool operator()(const std::pair<CodePointSet, int>& a,
                    const std::pair<CodePointSet, int>& b) const;
  };
  mutable std::mutex mutex_;  // of slices_
  mutable std::map<std::pair<CodePointSet, int>, std::unique_ptr<Slice>, SetOrder> slices_;
};

}  // namespace flashmoe::text
