// OpenAI's /v1/responses: the request, and the answer as output items or a stream of their events.
// Nothing is stored: the history comes with each request.
#pragma once

#include <memory>

#include "server/codec.h"
#include "server/request.h"

namespace flashmoe::server {

struct ResponsesRequest {
  Request request;
  Json echo;  // fields of the request that answers repeat
};

// Throws ApiError.
ResponsesRequest read_responses(const Json& body);

std::unique_ptr<AnswerEncoder> responses_encoder(const ResponsesRequest& request, AnswerName name);

}  // namespace flashmoe::server
