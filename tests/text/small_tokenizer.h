// A tokenizer for tests: a token for each byte with the byte's value as id, then the given words in
// order (their bytes need not be text), then special tokens. It decodes; its merges are empty.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "text/bpe_alphabet.h"
#include "text/tokenizer.h"

namespace flashmoe::text {

inline Tokenizer small_tokenizer(const std::vector<std::string>& words,
                                 const std::vector<std::string>& special) {
  TokenizerSpec spec;
  spec.name = "test";
  const auto add = [&](std::string_view bytes) {
    std::string spelling;
    append_byte_level(bytes, &spelling);
    for (const auto& token : spec.vocab) {
      if (token.text == spelling) return;
    }
    spec.vocab.push_back({spelling, static_cast<int32_t>(spec.vocab.size())});
  };
  for (int byte = 0; byte < 256; ++byte) {
    const char bytes[] = {static_cast<char>(byte)};
    add({bytes, 1});
  }
  for (const std::string& word : words) add(word);
  for (const std::string& content : special) {
    AddedToken token;
    token.content = content;
    token.id = static_cast<int32_t>(spec.vocab.size() + spec.added_tokens.size());
    token.special = true;
    spec.added_tokens.push_back(token);
  }
  PreTokenizerStep bytes;
  bytes.kind = PreTokenizerStep::kByteLevel;
  spec.pre_tokenizers.push_back(bytes);
  return Tokenizer(spec);
}

}  // namespace flashmoe::text
