#include "server/tokenization.h"

#include "server/api_error.h"
#include "server/openai_chat.h"
#include "text/utf8.h"

namespace flashmoe::server {

TokenizeRequest read_tokenize(const Json& body) {
  const Fields fields(body);
  TokenizeRequest out;
  out.parse_special = fields.boolean("parse_special").value_or(false);
  out.pieces = fields.boolean("with_pieces").value_or(false);
  if (fields.find("messages") != nullptr) {
    out.chat = read_openai_chat(fields);
    return out;
  }
  for (const char* name : {"text", "content", "prompt"}) {
    if (auto text = fields.string(name)) {
      out.text = *std::move(text);
      return out;
    }
  }
  refuse("text", "'text' is missing (or 'messages')");
}

DetokenizeRequest read_detokenize(const Json& body, int vocab) {
  const Fields fields(body);
  DetokenizeRequest out;
  const Json* tokens = fields.array("tokens");
  if (tokens == nullptr) refuse("tokens", "'tokens' is missing");
  for (const Json& token : *tokens) {
    const bool fits = token.is_number_unsigned() && token.get<uint64_t>() < uint64_t(vocab);
    if (!fits) refuse("tokens", "'tokens' must hold token ids below {}", vocab);
    out.tokens.push_back(token.get<int32_t>());
  }
  out.skip_special = fields.boolean("skip_special").value_or(false);
  return out;
}

Json pieces_json(const text::Tokenizer& tokenizer, const std::vector<int32_t>& tokens) {
  Json pieces = Json::array();
  for (const int32_t token : tokens) {
    const std::string_view bytes = tokenizer.token_bytes(token);
    std::string text;
    text::utf8_append_lossy(bytes, false, &text);
    Json numbers = Json::array();
    for (const char c : bytes) numbers.push_back(static_cast<unsigned char>(c));
    pieces.push_back({{"id", token}, {"text", std::move(text)}, {"bytes", std::move(numbers)}});
  }
  return pieces;
}

}  // namespace flashmoe::server
