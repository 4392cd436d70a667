// A random text of a grammar by the tokens of a small vocabulary, whole under a small limit.
#pragma once

#include <cstdlib>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "tests/text/small_tokenizer.h"
#include "text/grammar_constraint.h"

namespace flashmoe::text {

inline std::string random_walk(const Grammar& grammar, uint64_t seed) {
  static const auto* const kTokenizer =
      new Tokenizer(small_tokenizer({"aa", "{\"", "\":", "},", "true", "12"}, {"<s>"}));
  static const auto* const kVocabulary = new auto(std::make_shared<GrammarVocabulary>(*kTokenizer));
  const auto compiled = std::make_shared<CompiledGrammar>(grammar, *kVocabulary, 1 << 16);
  if (compiled->shortest() > 300) return "0";
  GrammarConstraint constraint(compiled);
  std::mt19937_64 random(seed);
  std::vector<uint64_t> bits((*kVocabulary)->mask_words());
  std::string text;
  for (int64_t left = compiled->shortest() + 10; left > 0; --left) {
    if (constraint.may_end() && random() % 4 == 0) break;
    constraint.allowed(left, bits);
    std::vector<int32_t> choices;
    for (int32_t token = 0; token < kTokenizer->vocab_size(); ++token) {
      if ((bits[static_cast<size_t>(token) / 64] >> (token % 64) & 1) != 0)
        choices.push_back(token);
    }
    if (choices.empty()) break;
    const int32_t token = choices[random() % choices.size()];
    constraint.accept(token);
    text += kTokenizer->token_bytes(token);
  }
  if (!constraint.may_end()) std::abort();
  return text;
}

}  // namespace flashmoe::text
