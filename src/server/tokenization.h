// /tokenize and /detokenize: their requests. Pure functions.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "server/request.h"
#include "text/tokenizer.h"

namespace flashmoe::server {

struct TokenizeRequest {
  std::optional<Chat> chat;  // `messages`; else:
  std::string text;          // `text`, or as other servers say it `content` or `prompt`
  bool parse_special = false;
  bool pieces = false;  // tell the bytes of each token
};
TokenizeRequest read_tokenize(const Json& body);

struct DetokenizeRequest {
  std::vector<int32_t> tokens;
  bool skip_special = false;
};
DetokenizeRequest read_detokenize(const Json& body, int vocab);

// [{"id", "text", "bytes"}]
Json pieces_json(const text::Tokenizer& tokenizer, const std::vector<int32_t>& tokens);

}  // namespace flashmoe::server
