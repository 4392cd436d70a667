#include "text/tokenizer_json_writer.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <vector>

#include "base/check.h"

namespace flashmoe::text {

namespace {

using Json = nlohmann::ordered_json;

Json pre_tokenizer(const PreTokenizerStep& step) {
  if (step.kind == PreTokenizerStep::kByteLevel) {
    return {{"type", "ByteLevel"},
            {"add_prefix_space", step.add_prefix_space},
            {"trim_offsets", false},
            {"use_regex", step.use_regex}};
  }
  CHECK(step.behavior == SplitBehavior::kIsolated);
  return {{"type", "Split"},
          {"pattern", {{step.pattern.is_regex ? "Regex" : "String", step.pattern.text}}},
          {"behavior", "Isolated"},
          {"invert", step.invert}};
}

Json normalizer(const TokenizerSpec& spec) {
  if (spec.normalizers.empty()) return nullptr;
  CHECK(spec.normalizers.size() == 1 && spec.normalizers[0].kind == NormalizerStep::kNfc);
  return {{"type", "NFC"}};
}

// Added tokens are numbered on from the vocabulary by those who read the file, whatever it says.
// Where that would give other ids, they stand in the vocabulary as well.
bool numbered_on(const TokenizerSpec& spec, const std::vector<AddedToken>& added) {
  auto next = static_cast<int64_t>(spec.vocab.size());
  return std::all_of(added.begin(), added.end(),
                     [&](const AddedToken& token) { return token.id == next++; });
}

}  // namespace

std::string tokenizer_json(const TokenizerSpec& spec) {
  std::vector<AddedToken> added = spec.added_tokens;
  std::sort(added.begin(), added.end(),
            [](const AddedToken& a, const AddedToken& b) { return a.id < b.id; });
  Json vocab = Json::object();
  // Not by operator[], which searches for the key in all others.
  auto& entries = vocab.get_ref<Json::object_t&>();
  for (const TokenizerSpec::Token& token : spec.vocab) {
    entries.Container::emplace_back(token.text, token.id);
  }
  if (!numbered_on(spec, added)) {
    for (const AddedToken& token : added) {
      entries.Container::emplace_back(token.content, token.id);
    }
  }
  Json merges = Json::array();
  for (const auto& [left, right] : spec.merges) merges.push_back(Json::array({left, right}));
  Json steps = Json::array();
  for (const PreTokenizerStep& step : spec.pre_tokenizers) steps.push_back(pre_tokenizer(step));
  Json tokens = Json::array();
  for (const AddedToken& token : added) {
    tokens.push_back({{"id", token.id},
                      {"content", token.content},
                      {"single_word", token.single_word},
                      {"lstrip", token.lstrip},
                      {"rstrip", token.rstrip},
                      {"normalized", token.normalized},
                      {"special", token.special}});
  }
  const Json byte_level = {{"type", "ByteLevel"},
                           {"add_prefix_space", false},
                           {"trim_offsets", false},
                           {"use_regex", false}};
  const Json root = {{"version", "1.0"},
                     {"truncation", nullptr},
                     {"padding", nullptr},
                     {"added_tokens", std::move(tokens)},
                     {"normalizer", normalizer(spec)},
                     {"pre_tokenizer", {{"type", "Sequence"}, {"pretokenizers", std::move(steps)}}},
                     {"post_processor", byte_level},
                     {"decoder", byte_level},
                     {"model",
                      {{"type", "BPE"},
                       {"dropout", nullptr},
                       {"unk_token", spec.unk_token ? Json(*spec.unk_token) : Json(nullptr)},
                       {"continuing_subword_prefix", nullptr},
                       {"end_of_word_suffix", nullptr},
                       {"fuse_unk", spec.fuse_unk},
                       {"byte_fallback", false},
                       {"ignore_merges", spec.ignore_merges},
                       {"vocab", std::move(vocab)},
                       {"merges", std::move(merges)}}}};
  return root.dump(1) + "\n";
}

}  // namespace flashmoe::text
