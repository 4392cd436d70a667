#include "server/openai_responses.h"

#include <gtest/gtest.h>

#include "tests/server/events.h"

namespace flashmoe::server {
namespace {

ResponsesRequest read(const std::string& body) { return read_responses(parse_object(body)); }

TEST(OpenAiResponsesTest, ReadsTheHistory) {
  const ResponsesRequest request = read(R"({"model": "m", "instructions": "Be brief.", "input": [
    {"role": "user", "content": [{"type": "input_text", "text": "hi"}]},
    {"type": "reasoning", "id": "rs_1", "summary": [], "content": [{"type": "reasoning_text", "text": "hm"}]},
    {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "I look."}]},
    {"type": "function_call", "call_id": "call_1", "name": "f", "arguments": "{\"a\":1}"},
    {"type": "function_call_output", "call_id": "call_1", "output": "42"}],
    "max_output_tokens": 9, "text": {"format": {"type": "json_schema", "name": "n", "schema": {}}},
    "tools": [{"type": "function", "name": "f", "parameters": {"type": "object"}}],
    "tool_choice": {"type": "function", "name": "f"}, "reasoning": {"effort": "low"}})");
  const Chat& chat = std::get<Chat>(request.request.prompt);
  EXPECT_EQ(chat.messages, Json::parse(R"([
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "hi"},
    {"role": "assistant", "content": "I look.", "reasoning_content": "hm", "tool_calls": [
      {"id": "call_1", "type": "function", "function": {"name": "f", "arguments": "{\"a\":1}"}}]},
    {"role": "tool", "content": "42", "tool_call_id": "call_1"}])"));
  EXPECT_EQ(chat.tool_choice.name, "f");
  EXPECT_EQ(chat.thinking.budget, 1024);
  EXPECT_EQ(request.request.format.kind, AnswerFormat::kJsonSchema);
  EXPECT_EQ(request.request.max_tokens, 9);
  EXPECT_EQ(request.echo["tool_choice"]["name"], "f");
}

TEST(OpenAiResponsesTest, RefusesWhatCannotBe) {
  for (const char* body :
       {"{}", R"({"input": []})", R"({"input": 1})",
        R"({"input": "a", "previous_response_id": "r"})", R"({"input": "a", "background": true})",
        R"({"input": [{"type": "item_reference"}]})",
        R"({"input": "a", "tools": [{"type": "web_search"}]})",
        R"({"input": [{"type": "reasoning"}]})", R"({"input": "a", "max_output_tokens": 0})"}) {
    EXPECT_NE(refusal([&] { read(body); }), "") << body;
  }
}

TEST(OpenAiResponsesTest, StreamEndsWithTheWholeAnswer) {
  const ResponsesRequest request = read(R"({"input": "a", "stream": true})");
  const std::vector<Json> events =
      stream_of(*responses_encoder(request, some_name()), some_events());
  int64_t sequence = 0;
  std::string types;
  for (const Json& event : events) {
    EXPECT_EQ(event["sequence_number"], sequence++);
    types += event["type"].get<std::string>().substr(9) + "\n";
  }
  EXPECT_EQ(types,
            "created\nin_progress\n"
            "output_item.added\nreasoning_text.delta\nreasoning_text.delta\nreasoning_text.done\n"
            "output_item.done\n"
            "output_item.added\ncontent_part.added\noutput_text.delta\noutput_text.delta\n"
            "output_text.done\ncontent_part.done\noutput_item.done\n"
            "output_item.added\nfunction_call_arguments.delta\nfunction_call_arguments.delta\n"
            "function_call_arguments.done\noutput_item.done\n"
            "output_item.added\nfunction_call_arguments.delta\nfunction_call_arguments.done\n"
            "output_item.done\n"
            "completed\n");
  const Json last = events.back()["response"];
  EXPECT_EQ(last["status"], "completed");
  ASSERT_EQ(last["output"].size(), 4u);
  EXPECT_EQ(last["output"][2]["arguments"], "{\"a\": 1}");
  EXPECT_EQ(last["usage"]["output_tokens_details"]["reasoning_tokens"], 5);
  // Items that were added are those that were done.
  for (const Json& event : events) {
    if (event["type"] != "response.output_item.added") continue;
    EXPECT_EQ(event["item"]["id"], last["output"][event["output_index"].get<size_t>()]["id"]);
  }
  Json whole = responses_encoder(request, some_name())->whole(answer_of(some_events()));
  for (Json* json : {&whole}) (*json)["output"][1]["content"][0].erase("logprobs");
  Json streamed = last;
  streamed["output"][1]["content"][0].erase("logprobs");
  EXPECT_EQ(whole, streamed);
}

TEST(OpenAiResponsesTest, SaysThatAnAnswerIsIncomplete) {
  std::vector<Event> events;
  events.push_back({Event::kEnd, 0, "", -1, "", {}, Finish::kLength});
  const ResponsesRequest request = read(R"({"input": "a"})");
  const Json json = responses_encoder(request, some_name())->whole(answer_of(events));
  EXPECT_EQ(json["status"], "incomplete");
  EXPECT_EQ(json["incomplete_details"]["reason"], "max_output_tokens");
}

}  // namespace
}  // namespace flashmoe::server
