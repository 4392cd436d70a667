#include "server/openai_chat.h"

#include <gtest/gtest.h>

#include "server/openai_fields.h"
#include "tests/server/events.h"

namespace flashmoe::server {
namespace {

ChatCompletionRequest read(const std::string& more) {
  return read_chat_completion(parse_object(
      R"({"model": "m", "messages": [{"role": "user", "content": "hi"}])" + more + "}"));
}
const Chat& chat_of(const ChatCompletionRequest& request) {
  return std::get<Chat>(request.request.prompt);
}

TEST(OpenAiChatTest, ReadsTheHistory) {
  const auto request = read_chat_completion(parse_object(R"({"messages": [
    {"role": "developer", "content": "Be brief."},
    {"role": "system", "content": [{"type": "text", "text": "And"}, {"type": "text", "text": "kind."}]},
    {"role": "user", "content": "hi", "name": "Ann", "unknown": 1},
    {"role": "assistant", "content": null, "reasoning_content": "hm", "tool_calls": [
      {"id": "call_1", "type": "function", "function": {"name": "f", "arguments": "{\"a\":  1}"}}]},
    {"role": "tool", "tool_call_id": "call_1", "content": "42"}]})"));
  EXPECT_EQ(chat_of(request).messages, Json::parse(R"([
    {"role": "system", "content": "Be brief.\n\nAnd\nkind."},
    {"role": "user", "content": "hi", "name": "Ann"},
    {"role": "assistant", "content": "", "reasoning_content": "hm", "tool_calls": [
      {"id": "call_1", "type": "function", "function": {"name": "f", "arguments": "{\"a\":  1}"}}]},
    {"role": "tool", "content": "42", "tool_call_id": "call_1"}])"));
}

TEST(OpenAiChatTest, ReadsTheSettings) {
  const auto request = read(R"(, "temperature": 0.5, "top_p": 0.9, "top_k": 5, "min_p": 0.1,
    "repetition_penalty": 1.1, "presence_penalty": -1, "frequency_penalty": 1, "seed": -1,
    "logit_bias": {"17": -100}, "stop": "x", "max_completion_tokens": 7, "n": 3, "logprobs": true,
    "top_logprobs": 2, "stream": true, "stream_options": {"include_usage": true}, "user": "u",
    "temperature_unknown": {}, "modalities": ["text"])");
  const Request& r = request.request;
  EXPECT_EQ(r.sampling.temperature, 0.5);
  EXPECT_EQ(r.sampling.top_p, 0.9);
  EXPECT_EQ(r.sampling.top_k, 5);
  EXPECT_EQ(r.sampling.min_p, 0.1);
  EXPECT_EQ(r.sampling.repetition_penalty, 1.1);
  EXPECT_EQ(r.sampling.presence_penalty, -1);
  EXPECT_EQ(r.sampling.frequency_penalty, 1);
  EXPECT_EQ(r.sampling.seed, ~uint64_t{0});
  EXPECT_EQ(r.sampling.logit_bias, (std::vector<std::pair<int32_t, float>>{{17, -100.f}}));
  EXPECT_EQ(r.stop, std::vector<std::string>{"x"});
  EXPECT_EQ(r.max_tokens, 7);
  EXPECT_EQ(r.choices, 3);
  EXPECT_EQ(r.logprobs, 2);
  EXPECT_TRUE(r.stream);
  EXPECT_TRUE(request.include_usage);
}

TEST(OpenAiChatTest, NullIsAbsent) {
  const auto request = read(R"(, "temperature": null, "stop": null, "n": null, "tools": null,
    "response_format": null, "seed": null, "stream": null, "stream_options": null)");
  EXPECT_FALSE(request.request.sampling.temperature);
  EXPECT_EQ(request.request.max_tokens, -1);
  EXPECT_EQ(request.request.logprobs, -1);
  EXPECT_EQ(request.request.format.kind, AnswerFormat::kText);
}

TEST(OpenAiChatTest, ReadsTools) {
  const std::string tools =
      R"(, "tools": [{"type": "function", "function": {"name": "f", "description": "d",
          "parameters": {"type": "object"}, "strict": true}},
         {"type": "function", "function": {"name": "g"}}])";
  const auto request = read(tools + R"(, "parallel_tool_calls": false)");
  EXPECT_EQ(chat_of(request).tools, Json::parse(R"([
    {"type": "function", "function": {"name": "f", "description": "d",
      "parameters": {"type": "object"}, "strict": true}},
    {"type": "function", "function": {"name": "g",
      "parameters": {"type": "object", "properties": {}}}}])"));
  EXPECT_EQ(chat_of(request).tool_choice.kind, ToolChoice::kAuto);
  EXPECT_FALSE(chat_of(request).tool_choice.parallel);
  const auto kind = [&](const std::string& choice) {
    return chat_of(read(tools + R"(, "tool_choice": )" + choice)).tool_choice.kind;
  };
  EXPECT_EQ(kind("\"none\""), ToolChoice::kNone);
  EXPECT_EQ(kind("\"required\""), ToolChoice::kRequired);
  EXPECT_EQ(kind(R"({"type": "function", "function": {"name": "g"}})"), ToolChoice::kNamed);
}

TEST(OpenAiChatTest, ReadsFormats) {
  const auto format = [](const std::string& given) { return read(", " + given).request.format; };
  EXPECT_EQ(format(R"("response_format": {"type": "json_object"})").kind,
            AnswerFormat::kJsonObject);
  const AnswerFormat schema = format(
      R"("response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": {"b": 1, "a": 2}}})");
  EXPECT_EQ(schema.kind, AnswerFormat::kJsonSchema);
  EXPECT_EQ(dump(schema.schema), R"({"b":1,"a":2})");  // in its own order
  EXPECT_EQ(format(R"("grammar": "root ::= \"a\"")").kind, AnswerFormat::kGrammar);
}

TEST(OpenAiChatTest, ReadsThinking) {
  EXPECT_EQ(chat_of(read("")).thinking.enabled, std::nullopt);
  EXPECT_EQ(chat_of(read(R"(, "reasoning_effort": "none")")).thinking.enabled, false);
  EXPECT_EQ(chat_of(read(R"(, "reasoning_effort": "low")")).thinking.budget, 1024);
  const auto request =
      read(R"(, "chat_template_kwargs": {"enable_thinking": false, "language": "de"})");
  EXPECT_EQ(chat_of(request).thinking.enabled, false);
  EXPECT_EQ(chat_of(request).template_variables, Json::parse(R"({"language": "de"})"));
}

TEST(OpenAiChatTest, RefusesWhatCannotBe) {
  const auto expect = [](const std::string& body, const std::string& param) {
    const std::string got = refusal([&] { read_chat_completion(parse_object(body)); });
    EXPECT_TRUE(got.starts_with(param + ": ")) << body << " gives " << got;
  };
  for (const char* body : {"", "[]", "{", "nul", "{\"a\":1e999}", "\"\xff\""}) expect(body, "");
  expect(std::string(100'000, '['), "");
  expect("{}", "messages");
  expect(R"({"messages": []})", "messages");
  expect(R"({"messages": "hi"})", "messages");
  expect(R"({"messages": [1]})", "messages[0]");
  expect(R"({"messages": [{"content": "x"}]})", "messages[0].role");
  expect(R"({"messages": [{"role": "robot", "content": "x"}]})", "messages[0].role");
  expect(R"({"messages": [{"role": "user"}]})", "messages[0].content");
  expect(R"({"messages": [{"role": "user", "content": 5}]})", "messages[0].content");
  expect(R"({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]})",
         "messages[0].content[0].type");
  const auto field = [&](const std::string& more, const std::string& param) {
    expect(R"({"messages": [{"role": "user", "content": "hi"}], )" + more + "}", param);
  };
  field(R"("temperature": 2.5)", "temperature");
  field(R"("temperature": "hot")", "temperature");
  field(R"("top_p": -0.1)", "top_p");
  field(R"("n": 0)", "n");
  field(R"("n": 1000)", "n");
  field(R"("max_tokens": 0)", "max_tokens");
  field(R"("max_tokens": 1.5)", "max_tokens");
  field(R"("max_tokens": 18446744073709551615)", "max_tokens");
  field(R"("stop": [""])", "stop");
  field(R"("stop": [1])", "stop");
  field(R"("stream": "yes")", "stream");
  field(R"("stream_options": {})", "stream_options");
  field(R"("top_logprobs": 2)", "top_logprobs");
  field(R"("logprobs": true, "top_logprobs": 21)", "top_logprobs");
  field(R"("logit_bias": {"x": 1})", "logit_bias");
  field(R"("logit_bias": {"1": 101})", "logit_bias");
  field(R"("tools": [{"type": "web_search"}])", "tools[0]");
  field(R"("tools": [{"type": "function", "function": {}}])", "tools[0].function.name");
  field(R"("tool_choice": "sometimes")", "tool_choice");
  field(R"("tool_choice": {"type": "function"})", "tool_choice");
  field(R"("response_format": {"type": "xml"})", "response_format.type");
  field(R"("response_format": {"type": "json_schema", "json_schema": {}})",
        "response_format.json_schema.schema");
  field(R"("reasoning_effort": "huge")", "reasoning_effort");
  field(R"("chat_template_kwargs": {"messages": []})", "chat_template_kwargs.messages");
  field(R"("modalities": ["audio"])", "modalities");
}

TEST(OpenAiChatTest, WritesAWholeAnswer) {
  const auto encoder = chat_completion_encoder(read(R"(, "logprobs": true)"), some_name());
  EXPECT_EQ(encoder->whole(answer_of(some_events())), Json::parse(R"({
    "id": "chatcmpl-abc", "object": "chat.completion", "created": 1700000000, "model": "tiny",
    "choices": [{"index": 0, "message": {
        "role": "assistant", "content": "Hello", "refusal": null,
        "reasoning_content": "Let me think.",
        "tool_calls": [
          {"id": "call_1", "type": "function", "function": {"name": "add", "arguments": "{\"a\": 1}"}},
          {"id": "call_2", "type": "function", "function": {"name": "now", "arguments": "{}"}}]},
      "logprobs": {"content": [
          {"token": "Hel", "logprob": -0.5, "bytes": [72, 101, 108], "top_logprobs": [
            {"token": "Hel", "logprob": -0.5, "bytes": [72, 101, 108]},
            {"token": "\ufffd", "logprob": -1.5, "bytes": [195]}]},
          {"token": "lo", "logprob": -0.25, "bytes": [108, 111], "top_logprobs": []}],
        "refusal": null},
      "finish_reason": "tool_calls"}],
    "usage": {"prompt_tokens": 10, "completion_tokens": 20, "total_tokens": 30,
      "prompt_tokens_details": {"cached_tokens": 4},
      "completion_tokens_details": {"reasoning_tokens": 5}}})"));
}

TEST(OpenAiChatTest, StreamsAnAnswer) {
  const auto encoder = chat_completion_encoder(
      read(R"(, "stream": true, "stream_options": {"include_usage": true})"), some_name());
  const std::vector<Json> chunks = stream_of(*encoder, some_events());
  // Put together as the OpenAI library does.
  std::string reasoning, content, arguments;
  std::vector<Json> calls;
  Json finish;
  for (const Json& chunk : chunks) {
    if (chunk == "[DONE]") continue;
    EXPECT_EQ(chunk["object"], "chat.completion.chunk");
    EXPECT_TRUE(chunk.contains("usage"));
    if (chunk["choices"].empty()) continue;
    const Json& choice = chunk["choices"][0];
    reasoning += choice["delta"].value("reasoning_content", "");
    content += choice["delta"].value("content", "");
    for (const Json& call : choice["delta"].value("tool_calls", Json::array())) {
      const size_t index = call["index"];
      if (call.contains("id")) calls.push_back(call);
      ASSERT_EQ(index + 1, calls.size());
      if (!call.contains("id")) arguments += call["function"]["arguments"].get<std::string>();
    }
    finish = choice["finish_reason"];
  }
  EXPECT_EQ(chunks.front()["choices"][0]["delta"]["role"], "assistant");
  EXPECT_EQ(reasoning, "Let me think.");
  EXPECT_EQ(content, "Hello");
  ASSERT_EQ(calls.size(), 2u);
  EXPECT_EQ(calls[1]["id"], "call_2");
  EXPECT_EQ(calls[1]["function"]["name"], "now");
  EXPECT_EQ(arguments, "{\"a\": 1}{}");
  EXPECT_EQ(finish, "tool_calls");
  EXPECT_EQ(chunks[chunks.size() - 2]["usage"]["total_tokens"], 30);
  EXPECT_EQ(chunks.back(), "[DONE]");
}

TEST(OpenAiChatTest, WritesErrors) {
  EXPECT_EQ(openai_error(ApiError(400, "no", "n")), Json::parse(R"({"error": {"message": "no",
    "type": "invalid_request_error", "param": "n", "code": null}})"));
  EXPECT_EQ(openai_error(ApiError(401, "who"))["error"]["code"], "invalid_api_key");
}

}  // namespace
}  // namespace flashmoe::server
