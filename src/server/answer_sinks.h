// From an answer's events to an HTTP response: whole, or as a stream of server-sent events.
#pragma once

#include <memory>
#include <vector>

#include "http/exchange.h"
#include "server/codec.h"
#include "server/generator.h"

namespace flashmoe::server {

// `headers`: of the response.
std::shared_ptr<AnswerSink> whole_answer_sink(std::shared_ptr<http::Exchange> exchange,
                                              std::unique_ptr<AnswerEncoder> encoder,
                                              std::vector<http::Header> headers);
std::shared_ptr<AnswerSink> stream_answer_sink(std::shared_ptr<http::Exchange> exchange,
                                               std::unique_ptr<AnswerEncoder> encoder,
                                               std::vector<http::Header> headers);

// The response that an error is.
http::Response error_response(const ApiError& error, const Json& body,
                              std::vector<http::Header> headers);

}  // namespace flashmoe::server
