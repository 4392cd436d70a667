// OpenAI's /v1/completions: plain texts or tokens to go on with.
#pragma once

#include <memory>

#include "server/codec.h"
#include "server/request.h"

namespace flashmoe::server {

struct CompletionRequest {
  Request request;
  bool echo = false;
  bool include_usage = false;
};

// Throws ApiError.
CompletionRequest read_completion(const Json& body);

// `prompts`: their texts, for `echo`.
std::unique_ptr<AnswerEncoder> completion_encoder(const CompletionRequest& request,
                                                  std::vector<std::string> prompts,
                                                  AnswerName name);

}  // namespace flashmoe::server
