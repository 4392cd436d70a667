// What tests of the codecs have in common: a made-up answer, streams as JSON, refusals.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "server/answer.h"
#include "server/codec.h"

namespace flashmoe::server {

// Reasoning, text with probabilities, and two calls, of one choice.
std::vector<Event> some_events();
Answer answer_of(const std::vector<Event>& events);
AnswerName some_name();

// All that an encoder says of an answer: the data of each event, "[DONE]" as a string. Fails when
// an event's name is not its data's "type".
std::vector<Json> stream_of(AnswerEncoder& encoder, const std::vector<Event>& events);

// The path and message of the ApiError with status 400 that `call` throws; "" when it throws none.
std::string refusal(const std::function<void()>& call);

}  // namespace flashmoe::server
