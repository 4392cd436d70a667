#include "server/openai_completions.h"

#include <gtest/gtest.h>

#include "tests/server/events.h"

namespace flashmoe::server {
namespace {

CompletionRequest read(const std::string& body) { return read_completion(parse_object(body)); }

TEST(OpenAiCompletionsTest, ReadsPromptsOfEveryForm) {
  const auto prompts = [](const std::string& prompt) {
    return std::get<PlainPrompts>(read(R"({"prompt": )" + prompt + "}").request.prompt).prompts;
  };
  using Tokens = std::vector<int32_t>;
  EXPECT_EQ(std::get<std::string>(prompts("\"a\"").at(0)), "a");
  EXPECT_EQ(std::get<Tokens>(prompts("[1, 2]").at(0)), (Tokens{1, 2}));
  EXPECT_EQ(prompts(R"(["a", "b"])").size(), 2u);
  EXPECT_EQ(std::get<Tokens>(prompts("[[1], [2, 3]]").at(1)), (Tokens{2, 3}));
  EXPECT_EQ(read(R"({"prompt": "a"})").request.max_tokens, 16);
}

TEST(OpenAiCompletionsTest, RefusesWhatCannotBe) {
  for (const char* body :
       {"{}", R"({"prompt": []})", R"({"prompt": 1})", R"({"prompt": [-1]})",
        R"({"prompt": [1.5]})", R"({"prompt": [99999999999]})", R"({"prompt": [{}]})",
        R"({"prompt": "a", "suffix": "b"})", R"({"prompt": "a", "best_of": 2})",
        R"({"prompt": "a", "echo": true, "logprobs": 1, "stream": true})",
        R"({"prompt": "a", "logprobs": 21})",
        R"({"prompt": "a", "response_format": {"type": "x"}})",
        R"({"prompt": "a", "max_tokens": -1})"}) {
    EXPECT_NE(refusal([&] { read(body); }), "") << body;
  }
}

std::vector<Event> two_choices() {
  const TokenLogprobs b = {{"b", 1, -0.5f}, {{"b", 1, -0.5f}, {"\xc3", 2, -1.f}}};
  std::vector<Event> events;
  events.push_back({Event::kText, 0, "b", -1, "", {b}});
  events.push_back({Event::kText, 1, "d"});
  events.push_back({Event::kText, 0, "c", -1, "", {{{"c", 3, -2.f}, {}}}});
  events.push_back({Event::kEnd, 1, "", -1, "", {}, Finish::kLength});
  events.push_back({Event::kEnd, 0});
  return events;
}

TEST(OpenAiCompletionsTest, WritesAWholeAnswer) {
  const auto encoder =
      completion_encoder(read(R"({"prompt": ["a", "z"], "logprobs": 2})"), {"a", "z"}, some_name());
  const Json json = encoder->whole(answer_of(two_choices()));
  EXPECT_EQ(json["id"], "cmpl-abc");
  EXPECT_EQ(json["choices"][0], Json::parse(R"({"index": 0, "text": "bc", "logprobs": {
    "tokens": ["b", "c"], "token_logprobs": [-0.5, -2.0],
    "top_logprobs": [{"b": -0.5, "bytes:\\xc3": -1.0}, {"c": -2.0}], "text_offset": [0, 1]},
    "finish_reason": "stop"})"));
  EXPECT_EQ(json["choices"][1]["finish_reason"], "length");
  EXPECT_EQ(json["usage"]["total_tokens"], 30);
}

TEST(OpenAiCompletionsTest, BeginsWithWhatIsKnownOfThePrompt) {
  const CompletionRequest request = read(R"({"prompt": "aé", "echo": true, "logprobs": 0})");
  EXPECT_TRUE(std::get<PlainPrompts>(request.request.prompt).logprobs);
  std::vector<Event> events;
  events.push_back({Event::kText, 0, "", -1, "", {{{"a", 1, 0.f}, {}, false}}});
  events.push_back(
      {Event::kText, 0, "", -1, "", {{{"\xc3", 2, -1.f}, {}}, {{"\xa9", 3, -2.f}, {}}}});
  events.push_back({Event::kText, 0, "b", -1, "", {{{"b", 4, -3.f}, {}}}});
  events.push_back({Event::kEnd, 0});
  const Json json =
      completion_encoder(request, {"aé"}, some_name())->whole(answer_of(events))["choices"][0];
  EXPECT_EQ(json["text"], "aéb");
  EXPECT_EQ(json["logprobs"], Json::parse(R"({
    "tokens": ["a", "bytes:\\xc3", "bytes:\\xa9", "b"], "token_logprobs": [null, -1.0, -2.0, -3.0],
    "top_logprobs": [null, {"bytes:\\xc3": -1.0}, {"bytes:\\xa9": -2.0}, {"b": -3.0}],
    "text_offset": [0, 1, 2, 2]})"));
}

TEST(OpenAiCompletionsTest, StreamsWithEcho) {
  const auto encoder = completion_encoder(
      read(R"({"prompt": ["a", "z"], "echo": true, "stream": true})"), {"a", "z"}, some_name());
  std::vector<std::string> texts(2);
  const std::vector<Json> chunks = stream_of(*encoder, two_choices());
  for (const Json& chunk : chunks) {
    if (chunk == "[DONE]") continue;
    texts[chunk["choices"][0]["index"].get<size_t>()] += chunk["choices"][0]["text"];
  }
  EXPECT_EQ(texts, (std::vector<std::string>{"abc", "zd"}));
  EXPECT_EQ(chunks.back(), "[DONE]");
}

}  // namespace
}  // namespace flashmoe::server
