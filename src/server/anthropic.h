// Anthropic's /v1/messages: the request, the answer as content blocks or a stream of their events,
// and errors.
#pragma once

#include <memory>

#include "server/codec.h"
#include "server/request.h"

namespace flashmoe::server {

// Throws ApiError. Without `max_tokens_needed`, as for count_tokens, the field may be missing.
Request read_messages(const Json& body, bool max_tokens_needed = true);

std::unique_ptr<AnswerEncoder> messages_encoder(AnswerName name);

// {"type": "error", "error": {"type", "message"}}
Json anthropic_error(const ApiError& error);

}  // namespace flashmoe::server
