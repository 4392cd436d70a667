#include "server/anthropic.h"

#include <gtest/gtest.h>

#include "tests/server/events.h"

namespace flashmoe::server {
namespace {

Request read(const std::string& body) { return read_messages(parse_object(body)); }

TEST(AnthropicTest, ReadsTheHistory) {
  const Request request = read(R"({"model": "m", "max_tokens": 5,
    "system": [{"type": "text", "text": "Be"}, {"type": "text", "text": "brief."}],
    "messages": [
      {"role": "user", "content": "hi"},
      {"role": "assistant", "content": [
        {"type": "thinking", "thinking": "hm", "signature": "s"},
        {"type": "text", "text": "I look."},
        {"type": "tool_use", "id": "toolu_1", "name": "f", "input": {"a": 1}}]},
      {"role": "user", "content": [
        {"type": "tool_result", "tool_use_id": "toolu_1", "content": [{"type": "text", "text": "42"}]},
        {"type": "text", "text": "And?"}]}],
    "tools": [{"name": "f", "description": "d", "input_schema": {"type": "object"}}],
    "tool_choice": {"type": "any", "disable_parallel_tool_use": true},
    "thinking": {"type": "enabled", "budget_tokens": 1024},
    "stop_sequences": ["x"], "temperature": 1, "top_k": 5, "top_p": 0.5, "metadata": {}})");
  const Chat& chat = std::get<Chat>(request.prompt);
  EXPECT_EQ(chat.messages, Json::parse(R"([
    {"role": "system", "content": "Be\nbrief."},
    {"role": "user", "content": "hi"},
    {"role": "assistant", "content": "I look.", "tool_calls": [
      {"id": "toolu_1", "type": "function", "function": {"name": "f", "arguments": {"a": 1}}}],
      "reasoning_content": "hm"},
    {"role": "tool", "content": "42", "tool_call_id": "toolu_1"},
    {"role": "user", "content": "And?"}])"));
  EXPECT_EQ(chat.tools[0]["function"]["name"], "f");
  EXPECT_EQ(chat.tool_choice.kind, ToolChoice::kRequired);
  EXPECT_FALSE(chat.tool_choice.parallel);
  EXPECT_EQ(chat.thinking.enabled, true);
  EXPECT_EQ(chat.thinking.budget, 1024);
  EXPECT_EQ(request.stop, std::vector<std::string>{"x"});
  EXPECT_EQ(request.max_tokens, 5);
  EXPECT_EQ(request.sampling.top_k, 5);
}

TEST(AnthropicTest, GoesOnWithAnAnswerThatIsBegun) {
  const Request request = read(R"({"max_tokens": 5, "messages": [
    {"role": "user", "content": "hi"}, {"role": "assistant", "content": "Hel"}]})");
  const Chat& chat = std::get<Chat>(request.prompt);
  EXPECT_EQ(chat.prefill, "Hel");
  EXPECT_EQ(chat.messages.size(), 1u);
  EXPECT_EQ(chat.thinking.enabled, false);
}

TEST(AnthropicTest, RefusesWhatCannotBe) {
  const auto expect = [](const std::string& body, const std::string& param) {
    const std::string got = refusal([&] { read(body); });
    EXPECT_TRUE(got.starts_with(param + ": ")) << body << " gives " << got;
  };
  const std::string hi = R"("messages": [{"role": "user", "content": "hi"}])";
  expect("{" + hi + "}", "max_tokens");
  expect(R"({"max_tokens": 5})", "messages");
  expect(R"({"max_tokens": 5, "messages": [{"role": "tool", "content": "x"}]})", "messages.0.role");
  expect(R"({"max_tokens": 5, "messages": [{"role": "user", "content": [{"type": "image"}]}]})",
         "messages.0.content.0.type");
  expect(R"({"max_tokens": 5, "messages": [{"role": "assistant", "content": "x"}]})", "messages");
  expect("{\"max_tokens\": 0, " + hi + "}", "max_tokens");
  expect("{\"max_tokens\": 5, \"tool_choice\": {\"type\": \"x\"}, " + hi + "}", "tool_choice.type");
  expect("{\"max_tokens\": 5, \"tools\": [{\"name\": \"f\"}], " + hi + "}", "tools.0.input_schema");
  expect("{\"max_tokens\": 5, \"tools\": [{\"type\": \"bash_1\"}], " + hi + "}", "tools.0.type");
}

TEST(AnthropicTest, WritesAWholeAnswer) {
  EXPECT_EQ(messages_encoder(some_name())->whole(answer_of(some_events())), Json::parse(R"({
    "id": "msg_abc", "type": "message", "role": "assistant", "model": "tiny",
    "content": [
      {"type": "thinking", "thinking": "Let me think.", "signature": ""},
      {"type": "text", "text": "Hello"},
      {"type": "tool_use", "id": "toolu_1", "name": "add", "input": {"a": 1}},
      {"type": "tool_use", "id": "toolu_2", "name": "now", "input": {}}],
    "stop_reason": "tool_use", "stop_sequence": null,
    "usage": {"input_tokens": 6, "cache_creation_input_tokens": 0, "cache_read_input_tokens": 4,
      "output_tokens": 20, "output_tokens_details": {"thinking_tokens": 5}}})"));
}

TEST(AnthropicTest, StreamsBlocks) {
  const std::vector<Json> events = stream_of(*messages_encoder(some_name()), some_events());
  std::string types;
  for (const Json& event : events) types += event["type"].get<std::string>() + "\n";
  EXPECT_EQ(types,
            "message_start\nping\n"
            "content_block_start\ncontent_block_delta\ncontent_block_delta\ncontent_block_stop\n"
            "content_block_start\ncontent_block_delta\ncontent_block_delta\ncontent_block_stop\n"
            "content_block_start\ncontent_block_delta\ncontent_block_delta\ncontent_block_stop\n"
            "content_block_start\ncontent_block_delta\ncontent_block_stop\n"
            "message_delta\nmessage_stop\n");
  EXPECT_EQ(events[2]["content_block"]["type"], "thinking");
  EXPECT_EQ(events[7]["delta"], Json::parse(R"({"type": "text_delta", "text": "Hel"})"));
  EXPECT_EQ(events[10], Json::parse(R"({"type": "content_block_start", "index": 2, "content_block":
    {"type": "tool_use", "id": "toolu_1", "name": "add", "input": {}}})"));
  EXPECT_EQ(events[events.size() - 2]["delta"]["stop_reason"], "tool_use");
  EXPECT_EQ(events[events.size() - 2]["usage"]["output_tokens"], 20);
}

TEST(AnthropicTest, SaysWhatEndedTheAnswer) {
  const auto reason = [](Finish finish, const std::string& stop) {
    std::vector<Event> events;
    events.push_back({Event::kText, 0, "x"});
    events.push_back({Event::kEnd, 0, "", -1, "", {}, finish, stop});
    const Json json = messages_encoder(some_name())->whole(answer_of(events));
    return dump(json["stop_reason"]) + dump(json["stop_sequence"]);
  };
  EXPECT_EQ(reason(Finish::kStop, ""), "\"end_turn\"null");
  EXPECT_EQ(reason(Finish::kStop, "X"), "\"stop_sequence\"\"X\"");
  EXPECT_EQ(reason(Finish::kLength, ""), "\"max_tokens\"null");
}

TEST(AnthropicTest, WritesErrors) {
  EXPECT_EQ(
      anthropic_error(ApiError(401, "who")),
      Json::parse(
          R"({"type": "error", "error": {"type": "authentication_error", "message": "who"}})"));
  EXPECT_EQ(anthropic_error(ApiError(413, ""))["error"]["type"], "request_too_large");
}

}  // namespace
}  // namespace flashmoe::server
