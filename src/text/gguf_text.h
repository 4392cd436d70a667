// What GGUF metadata say of text: tokenizer, chat template, tokens that end an answer. Owns the
// names and meanings of the keys under "tokenizer."; knows nothing of files.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "text/chat_template.h"
#include "text/tokenizer_spec.h"

namespace flashmoe::text {

class GgufText {
 public:
  // `metadata` is an object by key, its strings any bytes; `name` is for messages, usually a path.
  // Throws kCorrupt for lists that are missing, of the wrong type or do not fit each other, and
  // kUnsupported, by name, for tokenizers and pre-tokenizers that are not known here.
  GgufText(nlohmann::json metadata, std::string name);

  // Byte-level BPE. What the file calls unused is in no text, and left out.
  const TokenizerSpec& tokenizer() const { return spec_; }
  // The model's template; with tools, that for tools if there is one. Nothing if there is none.
  std::optional<ModelChatTemplate> chat_template(bool with_tools) const;
  // Its text, empty if there is none; that for tools only where it is another.
  const std::string& template_source(bool for_tools) const {
    return for_tools ? tools_template_ : template_;
  }
  // By the names that templates use: "bos_token", …
  const nlohmann::ordered_json& special_tokens() const { return special_tokens_; }
  // Tokens that end an answer: those of the keys, and those that are known by their text.
  const std::vector<int32_t>& end_tokens() const { return end_tokens_; }
  // What goes before a text that is not a conversation.
  std::optional<int32_t> first_token() const { return first_token_; }

 private:
  std::string name_;
  TokenizerSpec spec_;
  std::string template_, tools_template_;  // empty: none
  nlohmann::ordered_json special_tokens_;  // "bos_token": its text, ...
  std::vector<int32_t> end_tokens_;
  std::optional<int32_t> first_token_;
};

}  // namespace flashmoe::text
