#include "tests/server/events.h"

#include <gtest/gtest.h>

#include "http/sse.h"

namespace flashmoe::server {

std::vector<Event> some_events() {
  const TokenLogprobs hello = {{"Hel", 7, -0.5f}, {{"Hel", 7, -0.5f}, {"\xc3", 8, -1.5f}}};
  const TokenLogprobs lo = {{"lo", 9, -0.25f}, {}};
  std::vector<Event> events;
  events.push_back({Event::kReasoning, 0, "Let me "});
  events.push_back({Event::kReasoning, 0, "think."});
  events.push_back({Event::kText, 0, "Hel", -1, "", {hello}});
  events.push_back({Event::kText, 0, "lo", -1, "", {lo}});
  events.push_back({Event::kToolCall, 0, "add", 0, "1"});
  events.push_back({Event::kToolArguments, 0, "{\"a\": ", 0});
  events.push_back({Event::kToolArguments, 0, "1}", 0});
  events.push_back({Event::kToolCall, 0, "now", 1, "2"});
  events.push_back({Event::kToolArguments, 0, "{}", 1});
  events.push_back({Event::kEnd, 0, "", -1, "", {}, Finish::kToolCall});
  return events;
}

Answer answer_of(const std::vector<Event>& events) {
  Answer answer;
  for (const Event& event : events) answer.add(event);
  answer.usage = {10, 4, 20, 5};
  return answer;
}

AnswerName some_name() { return {"tiny", "abc", 1700000000}; }

std::vector<Json> stream_of(AnswerEncoder& encoder, const std::vector<Event>& events) {
  std::string text = encoder.begin(10);
  for (const Event& event : events) text += encoder.event(event);
  text += encoder.end(answer_of(events));
  std::vector<Json> list;
  for (const http::SseEvent& event : http::SseReader().push(text)) {
    const Json json =
        event.data == "[DONE]" ? Json("[DONE]") : Json::parse(event.data, nullptr, false);
    EXPECT_FALSE(json.is_discarded()) << event.data;
    if (!event.name.empty()) {
      EXPECT_EQ(json.value("type", ""), event.name);
    }
    list.push_back(json);
  }
  return list;
}

std::string refusal(const std::function<void()>& call) {
  try {
    call();
  } catch (const ApiError& error) {
    EXPECT_EQ(error.status(), 400) << error.what();
    return error.param() + ": " + error.what();
  }
  return "";
}

}  // namespace flashmoe::server
