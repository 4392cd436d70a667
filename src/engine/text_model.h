// The text side of a model: tokenizer, chat template and the makers' settings for generation, from
// the files beside its weights. Owns them; knows no tensors.
#pragma once

#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "engine/generate.h"
#include "engine/sampler.h"
#include "text/chat_template.h"
#include "text/tokenizer.h"

namespace flashmoe::engine {

class TextModel {
 public:
  // `folder` holds tokenizer.json, config.json and usually a chat template. Throws Error.
  explicit TextModel(const std::string& folder);

  const text::Tokenizer& tokenizer() const { return tokenizer_; }
  // As the model's makers set it; `seed` is 0.
  const SamplingOptions& sampling() const { return sampling_; }
  const std::vector<int32_t>& stop_tokens() const { return stop_tokens_; }

  // With tools, the variant for them; nothing if the model has none.
  std::optional<text::ModelChatTemplate> chat_template(bool with_tools) const;
  // Token ids of a conversation with the header of the answer to come. `variables` are the
  // template's: messages, and any of tools, enable_thinking, … Throws Error kUsage when the model
  // has no chat template.
  std::vector<int32_t> encode_chat(nlohmann::ordered_json variables) const;
  // Plain text; special tokens form from it only if `parse_special`.
  std::vector<int32_t> encode_text(const std::string& text, bool parse_special) const {
    return tokenizer_.encode(text, parse_special);
  }
  // At most `limit` tokens of reasoning (-1: any number), for models that mark it with <think> and
  // </think>.
  ThinkBudget think_budget(int64_t limit) const;

 private:
  std::string folder_;
  text::Tokenizer tokenizer_;
  SamplingOptions sampling_;
  std::vector<int32_t> stop_tokens_;
};

}  // namespace flashmoe::engine
