// OpenAI's /v1/chat/completions: the request, and the answer whole or in chunks.
#pragma once

#include <memory>

#include "server/codec.h"
#include "server/request.h"

namespace flashmoe::server {

struct ChatCompletionRequest {
  Request request;
  bool include_usage = false;  // in a stream
  bool logprobs = false;
};

// Throws ApiError.
ChatCompletionRequest read_chat_completion(const Json& body);

std::unique_ptr<AnswerEncoder> chat_completion_encoder(const ChatCompletionRequest& request,
                                                       AnswerName name);

// The `messages` and `tools` of such a request, also for /tokenize.
Chat read_openai_chat(const Fields& fields);

}  // namespace flashmoe::server
