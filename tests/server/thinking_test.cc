// Reasoning over the API, on the embedded model with a template that begins answers inside a
// section of it: it never ends that by itself, so that budgets and limits must.
#include <gtest/gtest.h>

#include "tests/server/test_server.h"

namespace flashmoe::server {
namespace {

constexpr char kChat[] = "/v1/chat/completions";
constexpr char kMessages[] = "/v1/messages";
constexpr char kResponses[] = "/v1/responses";

class ThinkingTest : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    TestServerOptions options;
    options.template_path = std::string(FLASHMOE_SOURCE_DIR) + "/tests/server/thinking.jinja";
    server_ = new TestServer(options);
  }
  static void TearDownTestSuite() {
    delete server_;
    server_ = nullptr;
  }
  // The model may neither close the section nor stop.
  static Json body(int max_tokens) {
    Json json = chat_body("Tell me a story about a fox.", max_tokens);
    json["logit_bias"] = {{"4087", -100}, {"4089", -100}, {"4091", -100}};
    return json;
  }
  static const Json& message(const Json& answer) { return answer["choices"][0]["message"]; }
  static Json person_schema() {
    return Json::parse(R"({"type": "object", "additionalProperties": false,
      "properties": {"name": {"type": "string", "maxLength": 12}, "old": {"type": "boolean"}},
      "required": ["name", "old"]})");
  }
  static void expect_person(const std::string& text) {
    const Json person = Json::parse(text, nullptr, false);
    ASSERT_TRUE(person.is_object()) << text;
    EXPECT_TRUE(person["name"].is_string() && person["old"].is_boolean()) << text;
  }
  static TestServer* server_;
};
TestServer* ThinkingTest::server_ = nullptr;

Json tools() {
  return Json::parse(R"([{"type": "function", "function": {"name": "add", "parameters":
    {"type": "object", "required": ["a"], "additionalProperties": false,
     "properties": {"a": {"type": "integer", "minimum": 0, "maximum": 99}}}}},
    {"type": "function", "function": {"name": "look", "parameters":
    {"type": "object", "additionalProperties": false, "properties": {}}}}])");
}

TEST_F(ThinkingTest, TheBudgetEndsTheReasoning) {
  for (const int budget : {1, 7, 30}) {
    Json json = body(60);
    json["thinking_budget"] = budget;
    const Json answer = server_->ask(kChat, json);
    EXPECT_NE(message(answer)["reasoning_content"], "");
    EXPECT_NE(message(answer)["content"], "") << "the section was closed";
    EXPECT_EQ(answer["usage"]["completion_tokens_details"]["reasoning_tokens"], budget + 1);
    EXPECT_EQ(message(answer)["content"].get<std::string>().find("think>"), std::string::npos);
  }
}

TEST_F(ThinkingTest, WithoutOneItLastsAsLongAsTheLimit) {
  const Json answer = server_->ask(kChat, body(40));
  EXPECT_EQ(message(answer)["content"], "");
  EXPECT_EQ(answer["usage"]["completion_tokens_details"]["reasoning_tokens"], 40);
  EXPECT_EQ(answer["choices"][0]["finish_reason"], "length");
}

TEST_F(ThinkingTest, StreamsTheSame) {
  Json json = body(40);
  json["thinking_budget"] = 9;
  const Json whole = message(server_->ask(kChat, json));
  std::string reasoning, content;
  for (const Json& chunk : server_->stream(kChat, json)) {
    if (chunk == "[DONE]") continue;
    const Json& delta = chunk["choices"][0]["delta"];
    if (delta.contains("reasoning_content")) {
      EXPECT_EQ(content, "") << "reasoning comes first";
      reasoning += delta["reasoning_content"];
    }
    content += delta.value("content", "");
  }
  EXPECT_EQ(reasoning, whole["reasoning_content"]);
  EXPECT_EQ(content, whole["content"]);
}

TEST_F(ThinkingTest, CanBeSwitchedOff) {
  Json off[5] = {body(20), body(20), body(20), body(20), body(20)};
  off[0]["thinking_budget"] = 0;
  off[1]["reasoning_effort"] = "none";
  off[2]["chat_template_kwargs"] = {{"enable_thinking", false}};
  // A template that opens a section all the same: it is closed at once.
  off[3]["thinking_budget"] = 0;
  off[3]["chat_template_kwargs"] = {{"stubborn", true}};
  off[4]["reasoning_effort"] = "none";
  off[4]["chat_template_kwargs"] = {{"stubborn", true}};
  for (const Json& json : off) {
    const Json answer = server_->ask(kChat, json);
    EXPECT_FALSE(message(answer).contains("reasoning_content")) << json << answer;
    EXPECT_NE(message(answer)["content"], "") << json << answer;
  }
  Json json = body(20);
  json["thinking_budget"] = -1;
  EXPECT_EQ(server_->post(kChat, json).status, 400);
}

TEST_F(ThinkingTest, AnAnswerThatIsHeldToASchemaComesAfterIt) {
  for (const int budget : {0, 1, 11, 1000}) {
    for (const int limit : {40, 90}) {
      for (const bool stream : {false, true}) {
        Json json = body(limit);
        json["temperature"] = 1;
        json["seed"] = budget + limit;
        json["thinking_budget"] = budget;
        json["response_format"] = {
            {"type", "json_schema"},
            {"json_schema", {{"name", "person"}, {"schema", person_schema()}}}};
        std::string content;
        if (stream) {
          for (const Json& chunk : server_->stream(kChat, json)) {
            if (chunk == "[DONE]") continue;
            content += chunk["choices"][0]["delta"].value("content", "");
          }
        } else {
          const Json answer = server_->ask(kChat, json);
          content = message(answer)["content"];
          EXPECT_EQ(answer["choices"][0]["finish_reason"], "stop");
          EXPECT_EQ(message(answer).contains("reasoning_content"), budget > 0);
        }
        expect_person(content);
      }
    }
  }
}

TEST_F(ThinkingTest, ALimitThatLeavesNoAnswerIsRefused) {
  Json json = body(1);
  json["response_format"] = {{"type", "json_schema"},
                             {"json_schema", {{"name", "person"}, {"schema", person_schema()}}}};
  int least = 1;
  for (; least < 60; ++least) {
    json["max_tokens"] = least;
    const http::Response response = server_->post(kChat, json);
    if (response.status == 200) break;
    ASSERT_EQ(response.status, 400) << response.body;
  }
  ASSERT_LT(least, 60);
  expect_person(message(server_->ask(kChat, json))["content"]);
}

TEST_F(ThinkingTest, ToolsAreCalledAfterIt) {
  for (const Json& choice : {Json("required"), Json::parse(R"({"type": "function",
                                "function": {"name": "add"}})")}) {
    for (const int budget : {0, 5, 1000}) {
      Json json = body(80);
      json["tools"] = tools();
      json["tool_choice"] = choice;
      json["thinking_budget"] = budget;
      json["temperature"] = 1;
      json["seed"] = budget;
      const Json answer = server_->ask(kChat, json);
      ASSERT_TRUE(message(answer).contains("tool_calls")) << answer;
      EXPECT_EQ(answer["choices"][0]["finish_reason"], "tool_calls");
      EXPECT_EQ(message(answer).contains("reasoning_content"), budget > 0);
      for (const Json& call : message(answer)["tool_calls"]) {
        const Json arguments =
            Json::parse(call["function"]["arguments"].get<std::string>(), nullptr, false);
        EXPECT_TRUE(arguments.is_object()) << answer;
        if (choice.is_object()) {
          EXPECT_TRUE(arguments["a"].is_number_integer()) << answer;
        }
      }
      // It goes back with its reasoning.
      json["messages"].push_back(message(answer));
      json["messages"].push_back({{"role", "tool"},
                                  {"tool_call_id", message(answer)["tool_calls"][0]["id"]},
                                  {"content", "7"}});
      json["tool_choice"] = "none";
      EXPECT_FALSE(message(server_->ask(kChat, json)).contains("tool_calls"));
    }
  }
}

TEST_F(ThinkingTest, OnlyAllowedToolsAreCalled) {
  Json json = body(80);
  json["tools"] = tools();
  json["thinking_budget"] = 3;
  json["temperature"] = 1.5;
  json["tool_choice"] = Json::parse(R"({"type": "allowed_tools", "allowed_tools":
    {"mode": "required", "tools": [{"type": "function", "function": {"name": "look"}}]}})");
  for (int seed = 0; seed < 6; ++seed) {
    json["seed"] = seed;
    const Json answer = server_->ask(kChat, json);
    for (const Json& call : message(answer)["tool_calls"]) {
      EXPECT_EQ(call["function"]["name"], "look");
    }
  }
  json["tool_choice"]["allowed_tools"]["tools"][0]["function"]["name"] = "nothing";
  EXPECT_EQ(server_->post(kChat, json).status, 400);
}

TEST_F(ThinkingTest, ProbabilitiesAreOfTheAnswerAlone) {
  Json json = body(40);
  json["thinking_budget"] = 6;
  json["logprobs"] = true;
  const Json choice = server_->ask(kChat, json)["choices"][0];
  std::string told;
  for (const Json& one : choice["logprobs"]["content"]) {
    for (const Json& byte : one["bytes"]) told += static_cast<char>(byte.get<int>());
  }
  EXPECT_EQ(told, choice["message"]["content"]);
}

TEST_F(ThinkingTest, IsABlockOfAMessage) {
  Json json = body(60);
  json["thinking"] = {{"type", "enabled"}, {"budget_tokens", 8}};
  json["output_format"] = {{"type", "json_schema"}, {"schema", person_schema()}};
  json["max_tokens"] = 60;
  const Json answer = server_->ask(kMessages, json);
  ASSERT_EQ(answer["content"].size(), 2u) << answer;
  EXPECT_EQ(answer["content"][0]["type"], "thinking");
  EXPECT_NE(answer["content"][0]["thinking"], "");
  expect_person(answer["content"][1]["text"]);
  std::string kinds, text;
  for (const Json& event : server_->stream(kMessages, json)) {
    if (event["type"] == "content_block_start") {
      EXPECT_EQ(event["index"], kinds.empty() ? 0 : 1);
      kinds += event["content_block"]["type"].get<std::string>() + " ";
    }
    if (event["type"] == "content_block_delta") text += event["delta"].value("text", "");
  }
  EXPECT_EQ(kinds, "thinking text ");
  EXPECT_EQ(text, answer["content"][1]["text"]);
  json["thinking"] = {{"type", "disabled"}};
  json["chat_template_kwargs"] = {{"stubborn", true}};
  EXPECT_EQ(server_->ask(kMessages, json)["content"].size(), 1u);
}

TEST_F(ThinkingTest, IsAnItemOfAResponse) {
  Json json = {{"input", "Tell me a story."},
               {"temperature", 0},
               {"max_output_tokens", 50},
               {"thinking_budget", 8},
               {"logit_bias", body(1)["logit_bias"]}};
  const Json answer = server_->ask(kResponses, json);
  ASSERT_EQ(answer["output"].size(), 2u) << answer;
  EXPECT_EQ(answer["output"][0]["type"], "reasoning");
  EXPECT_EQ(answer["output"][1]["type"], "message");
  const std::vector<Json> events = server_->stream(kResponses, json);
  for (size_t i = 0; i < events.size(); ++i) EXPECT_EQ(events[i]["sequence_number"], i);
  const Json& items = events.back()["response"]["output"];
  for (size_t i = 0; i < 2; ++i) {
    EXPECT_EQ(items[i]["content"], answer["output"][i]["content"]);
    EXPECT_EQ(items[i]["status"], answer["output"][i]["status"]);
  }
  json["max_output_tokens"] = 5;
  const Json cut = server_->ask(kResponses, json);
  EXPECT_EQ(cut["status"], "incomplete");
  EXPECT_EQ(cut["output"].back()["status"], "incomplete");
}

}  // namespace
}  // namespace flashmoe::server
