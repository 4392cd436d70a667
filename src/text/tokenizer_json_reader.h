// The JSON of tokenizer.json with its two long lists, model.vocab and model.merges, read straight
// into vectors: as a tree, they take most of the time that loading takes.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "text/tokenizer_spec.h"

namespace flashmoe::text {

struct TokenizerJson {
  nlohmann::json tree;  // without model.vocab and model.merges
  bool has_vocab = false;
  bool has_merges = false;
  std::vector<TokenizerSpec::Token> vocab;  // ids within bounds and distinct
  std::vector<std::pair<std::string, std::string>> merges;
};

// Throws kCorrupt, naming `name` and the place.
TokenizerJson read_tokenizer_json(std::string_view json, const std::string& name);

// Ids are below this: some times more than the largest vocabularies.
inline constexpr int32_t kMaxTokenId = 1 << 22;
inline constexpr size_t kMaxTokenBytes = 1 << 16;

}  // namespace flashmoe::text
