// The text side of a model: tokenizer, chat template and the makers' settings for generation, from
// the files beside its weights or from GGUF metadata. Owns them; knows no tensors.
#pragma once

#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "engine/generate.h"
#include "engine/sampler.h"
#include "text/chat_template.h"
#include "text/gguf_text.h"
#include "text/tokenizer.h"

namespace flashmoe::engine {

// Of a GGUF file; it may hold a vocabulary alone.
text::GgufText read_gguf_text(const std::string& path);
// `model` is a folder with tokenizer.json, or a GGUF file.
text::Tokenizer read_tokenizer(const std::string& model);
// Nothing if the model has no template.
std::optional<text::ModelChatTemplate> read_chat_template(const std::string& model,
                                                          bool with_tools);

class TextModel {
 public:
  // `model` is a folder with tokenizer.json, config.json and usually a chat template, or a GGUF
  // file. `template_path`, unless it is empty, is a template to take instead. Throws Error.
  explicit TextModel(const std::string& model, const std::string& template_path = {});

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
  // Plain text, after the token that goes before it if the model has one; special tokens form from
  // it only if `parse_special`.
  std::vector<int32_t> encode_text(const std::string& text, bool parse_special) const;
  // At most `limit` tokens of reasoning (-1: any number), for models that mark it with <think> and
  // </think>.
  ThinkBudget think_budget(int64_t limit) const;
  // What the user should know of where this came from.
  const std::vector<std::string>& notes() const { return notes_; }

 private:
  void fill_gaps();

  std::string model_, template_path_;
  bool family_template_ = false;
  std::optional<text::GgufText> gguf_;
  text::Tokenizer tokenizer_;
  SamplingOptions sampling_;
  std::vector<int32_t> stop_tokens_;
  std::vector<std::string> notes_;
};

}  // namespace flashmoe::engine
