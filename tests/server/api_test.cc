// The routes end to end, on the embedded model.
#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "tests/http/raw_socket.h"
#include "tests/server/test_server.h"

namespace flashmoe::server {
namespace {

class ApiTest : public testing::Test {
 protected:
  // One server for all tests: opening the model takes most of their time.
  static void SetUpTestSuite() { server_ = new TestServer(); }
  static void TearDownTestSuite() {
    delete server_;
    server_ = nullptr;
  }
  static std::string content(const Json& answer) {
    return answer["choices"][0]["message"]["content"];
  }
  static TestServer* server_;
};
TestServer* ApiTest::server_ = nullptr;

constexpr char kChat[] = "/v1/chat/completions";

std::string joined_content(const std::vector<Json>& chunks) {
  std::string text;
  for (const Json& chunk : chunks) {
    if (chunk == "[DONE]" || chunk["choices"].empty()) continue;
    text += chunk["choices"][0]["delta"].value("content", "");
  }
  return text;
}

Json add_tool() {
  return Json::parse(R"({"type": "function", "function": {"name": "add", "description": "Adds.",
    "parameters": {"type": "object", "required": ["a", "b"],
      "properties": {"a": {"type": "integer"}, "b": {"type": "integer"}}}}})");
}

TEST_F(ApiTest, AnswersAChat) {
  const Json answer = server_->ask(kChat, chat_body("What is the capital of France?", 60));
  EXPECT_NE(content(answer).find("Paris"), std::string::npos) << answer;
  EXPECT_EQ(answer["model"], "tiny");
  EXPECT_EQ(answer["choices"][0]["finish_reason"], "stop");
  const Json& usage = answer["usage"];
  EXPECT_GT(usage["prompt_tokens"], 5);
  EXPECT_GT(usage["completion_tokens"], 1);
  EXPECT_EQ(usage["total_tokens"],
            usage["prompt_tokens"].get<int>() + usage["completion_tokens"].get<int>());
}

TEST_F(ApiTest, StreamsTheSameAnswer) {
  const Json body = chat_body("Tell me a story about a fox.", 80);
  const std::string whole = content(server_->ask(kChat, body));
  const std::vector<Json> chunks = server_->stream(kChat, body);
  EXPECT_EQ(joined_content(chunks), whole);
  EXPECT_GT(chunks.size(), 20u);
  EXPECT_EQ(chunks.back(), "[DONE]");
}

TEST_F(ApiTest, EqualSeedsGiveEqualAnswers) {
  Json body = chat_body("Tell me a story.", 30);
  body["temperature"] = 1.5;
  body["seed"] = 7;
  body["n"] = 3;
  const Json first = server_->ask(kChat, body)["choices"];
  EXPECT_EQ(first, server_->ask(kChat, body)["choices"]);
  ASSERT_EQ(first.size(), 3u);
  EXPECT_NE(first[0]["message"], first[1]["message"]);
  // Each as if it had been asked for alone.
  body.erase("n");
  for (int i = 0; i < 3; ++i) {
    body["seed"] = 7 + i;
    EXPECT_EQ(server_->ask(kChat, body)["choices"][0]["message"], first[i]["message"]);
  }
}

TEST_F(ApiTest, StopStringsEndAnswersAndAreNotLeaked) {
  Json body = chat_body("Tell me a story about a fox.", 80);
  const std::string whole = content(server_->ask(kChat, body));
  ASSERT_GT(whole.size(), 60u);
  // Any place: most are across tokens.
  for (size_t at = 20; at < 50; at += 3) {
    const std::string stop = whole.substr(at, 7);
    const std::string expected = whole.substr(0, whole.find(stop));
    body["stop"] = {"never said", stop};
    const Json answer = server_->ask(kChat, body);
    EXPECT_EQ(content(answer), expected);
    EXPECT_EQ(answer["choices"][0]["finish_reason"], "stop");
    EXPECT_EQ(joined_content(server_->stream(kChat, body)), expected);
  }
  server_->wait_until_idle();
}

TEST_F(ApiTest, TokensAreLimited) {
  const Json answer = server_->ask(kChat, chat_body("Tell me a story.", 5));
  EXPECT_EQ(answer["choices"][0]["finish_reason"], "length");
  EXPECT_EQ(answer["usage"]["completion_tokens"], 5);
}

TEST_F(ApiTest, TellsProbabilities) {
  Json body = chat_body("What is the capital of France?", 40);
  body["logprobs"] = true;
  body["top_logprobs"] = 3;
  const Json answer = server_->ask(kChat, body);
  const Json& logprobs = answer["choices"][0]["logprobs"]["content"];
  std::string text;
  for (const Json& one : logprobs) {
    for (const Json& byte : one["bytes"]) text += static_cast<char>(byte.get<int>());
    EXPECT_LE(one["logprob"], 0);
    ASSERT_EQ(one["top_logprobs"].size(), 3u);
    // Greedy: the one that was taken is the most probable.
    EXPECT_EQ(one["top_logprobs"][0]["token"], one["token"]);
  }
  EXPECT_EQ(text, content(answer));
  Json streamed = Json::array();
  for (const Json& chunk : server_->stream(kChat, body)) {
    if (chunk == "[DONE]" || chunk["choices"][0]["logprobs"].is_null()) continue;
    for (const Json& one : chunk["choices"][0]["logprobs"]["content"]) streamed.push_back(one);
  }
  EXPECT_EQ(streamed, logprobs);
}

TEST_F(ApiTest, HoldsAnswersToASchema) {
  Json body = chat_body("Describe a person.", 200);
  body["temperature"] = 1;
  body["seed"] = 1;
  body["response_format"] = Json::parse(R"({"type": "json_schema", "json_schema": {"name": "person",
    "schema": {"type": "object", "additionalProperties": false, "required": ["name", "age", "tags"],
      "properties": {"name": {"type": "string", "maxLength": 20}, "age": {"type": "integer"},
        "tags": {"type": "array", "items": {"enum": ["a", "b"]}, "maxItems": 3}}}}})");
  const Json person = Json::parse(content(server_->ask(kChat, body)), nullptr, false);
  ASSERT_FALSE(person.is_discarded());
  EXPECT_TRUE(person["name"].is_string());
  EXPECT_TRUE(person["age"].is_number_integer());
  EXPECT_TRUE(person["tags"].is_array());
  // Too few tokens for any such answer.
  body["max_tokens"] = 3;
  EXPECT_EQ(server_->post(kChat, body).status, 400);
  body["max_tokens"] = 200;
  body["response_format"]["json_schema"]["schema"] =
      Json::parse(R"({"$ref": "#/$defs/n", "$defs": {"n": {"type": "object", "required": ["n"],
        "properties": {"n": {"$ref": "#/$defs/n"}}}}})");
  EXPECT_EQ(server_->post(kChat, body).status, 400);
}

TEST_F(ApiTest, CallsTools) {
  Json body = chat_body("What is 2 plus 3? Use the tool.", 100);
  body["tools"] = Json::array({add_tool()});
  body["tool_choice"] = "required";
  const Json message = server_->ask(kChat, body)["choices"][0]["message"];
  ASSERT_EQ(message["tool_calls"].size(), 1u) << message;
  const Json& call = message["tool_calls"][0];
  EXPECT_EQ(call["function"]["name"], "add");
  const Json arguments = Json::parse(call["function"]["arguments"].get<std::string>());
  EXPECT_TRUE(arguments["a"].is_number_integer());
  EXPECT_TRUE(arguments["b"].is_number_integer());

  // The same while streaming, in pieces.
  std::string name, pieces, finish;
  for (const Json& chunk : server_->stream(kChat, body)) {
    if (chunk == "[DONE]") continue;
    const Json& choice = chunk["choices"][0];
    if (choice["delta"].contains("tool_calls")) {
      const Json& function = choice["delta"]["tool_calls"][0]["function"];
      name += function.value("name", "");
      pieces += function.value("arguments", "");
    }
    if (!choice["finish_reason"].is_null()) finish = choice["finish_reason"];
  }
  EXPECT_EQ(name, "add");
  EXPECT_EQ(pieces, call["function"]["arguments"]);
  EXPECT_EQ(finish, "tool_calls");

  // The result goes back; the conversation goes on.
  body["messages"].push_back(message);
  body["messages"].push_back({{"role", "tool"}, {"tool_call_id", call["id"]}, {"content", "5"}});
  body["tool_choice"] = "none";
  EXPECT_NE(content(server_->ask(kChat, body)), "");
}

// What a call costs to send back: the template renders the model's own bytes.
TEST_F(ApiTest, CallsGoBackByteForByte) {
  Json body = chat_body("What is 2 plus 3? Use the tool.", 100);
  body["tools"] = Json::array({add_tool()});
  const Json prompt = server_->ask("/tokenize", body)["tokens"];
  body["tool_choice"] = "required";
  const Json message = server_->ask(kChat, body)["choices"][0]["message"];
  body["messages"].push_back(message);
  body["messages"].push_back(
      {{"role", "tool"}, {"tool_call_id", message["tool_calls"][0]["id"]}, {"content", "5"}});
  const Json longer = server_->ask("/tokenize", body)["tokens"];
  ASSERT_GT(longer.size(), prompt.size());
  EXPECT_TRUE(std::equal(prompt.begin(), prompt.end(), longer.begin()));
  const std::string said = server_->ask("/detokenize", {{"tokens", longer}})["text"];
  EXPECT_NE(said.find(message["tool_calls"][0]["function"]["arguments"].get<std::string>()),
            std::string::npos);
}

TEST_F(ApiTest, CallsGoBackByteForByteThoughTheClientHasOnlyTheObject) {
  Json body = chat_body("What is 2 plus 3? Use the tool.", 100);
  Json tool = add_tool()["function"];
  tool["input_schema"] = tool["parameters"];
  body["tools"] = Json::array({tool});
  body["tool_choice"] = {{"type", "any"}};
  const Json answer = server_->ask("/v1/messages", body);
  ASSERT_EQ(answer["stop_reason"], "tool_use");
  const Json& use = answer["content"].back();
  // What the model wrote, by an API that tells.
  Json chat = chat_body("What is 2 plus 3? Use the tool.", 100);
  chat["tools"] = Json::array({add_tool()});
  chat["tool_choice"] = "required";
  const Json call = server_->ask(kChat, chat)["choices"][0]["message"]["tool_calls"][0];
  const std::string arguments = call["function"]["arguments"];
  ASSERT_EQ(Json::parse(arguments), use["input"]);
  Json history = body["messages"];
  Json message = {{"role", "assistant"}, {"tool_calls", Json::array({call})}};
  message["tool_calls"][0]["id"] = use["id"];
  message["tool_calls"][0]["function"]["arguments"] = use["input"];
  history.push_back(message);
  const Json tokens = server_->ask("/tokenize", {{"messages", history}})["tokens"];
  const std::string said = server_->ask("/detokenize", {{"tokens", tokens}})["text"];
  EXPECT_NE(said.find(arguments), std::string::npos) << said;
}

// Also where the template takes objects, and would print true as True.
TEST(ApiTemplateTest, XmlCallsGoBackByteForByte) {
  TestServerOptions options;
  options.template_path = std::string(FLASHMOE_SOURCE_DIR) + "/tests/server/xml_calls.jinja";
  TestServer server(options);
  Json body = chat_body("Turn it on.", 200);
  body["temperature"] = 1;
  body["tools"] = Json::parse(R"([{"type": "function", "function": {"name": "turn", "parameters":
    {"type": "object", "required": ["on", "size", "list"], "additionalProperties": false,
     "properties": {"on": {"type": "boolean"}, "size": {"type": "number"},
       "list": {"type": "array", "items": {"type": "boolean"}, "minItems": 2}}}}}])");
  body["tool_choice"] = "required";
  body["parallel_tool_calls"] = false;
  body["logprobs"] = true;
  for (int seed = 0; seed < 4; ++seed) {
    body["seed"] = seed;
    const Json choice = server.ask(kChat, body)["choices"][0];
    std::string written;
    for (const Json& one : choice["logprobs"]["content"]) {
      for (const Json& byte : one["bytes"]) written += static_cast<char>(byte.get<int>());
    }
    ASSERT_NE(written.find("<parameter=on>"), std::string::npos) << written;
    Json longer = body;
    longer["messages"].push_back(choice["message"]);
    const Json tokens = server.ask("/tokenize", longer)["tokens"];
    const std::string history = server.ask("/detokenize", {{"tokens", tokens}})["text"];
    const size_t begin = written.find("<tool_call>");
    EXPECT_NE(history.find(written.substr(begin)), std::string::npos) << written << history;
  }
}

// What was said before need not be run again.
TEST_F(ApiTest, AConversationGoesOnFromTheCachedPrefix) {
  Json body = chat_body("Tell me a story about a clever owl.", 40);
  const Json first = server_->ask(kChat, body);
  body["messages"].push_back(first["choices"][0]["message"]);
  body["messages"].push_back({{"role", "user"}, {"content", "And then?"}});
  const Json usage = server_->ask(kChat, body)["usage"];
  EXPECT_GE(usage["prompt_tokens_details"]["cached_tokens"], first["usage"]["prompt_tokens"]);
  EXPECT_LT(usage["prompt_tokens_details"]["cached_tokens"], usage["prompt_tokens"]);
}

TEST_F(ApiTest, CallsToolsOrHasTheFormat) {
  Json body = chat_body("What is the capital of France?", 100);
  body["tools"] = Json::array({add_tool()});
  body["response_format"] = {{"type", "json_object"}};
  body["n"] = 4;
  body["temperature"] = 1;
  body["seed"] = 3;
  const Json answer = server_->ask(kChat, body);
  for (const Json& choice : answer["choices"]) {
    const Json& message = choice["message"];
    if (message.contains("tool_calls")) continue;
    EXPECT_TRUE(Json::parse(message["content"].get<std::string>(), nullptr, false).is_object())
        << message;
  }
}

// A limit that is too small is named, and that very one will do.
TEST_F(ApiTest, ChosenToolsAreCalledWholeWithinTheLeastLimit) {
  Json other = add_tool();
  other["function"]["name"] = "subtract";
  Json body = chat_body("What is 2 plus 3?", 2);
  body["tools"] = {add_tool(), other};
  for (const Json& choice :
       {Json("required"),
        Json::parse(R"({"type": "function", "function": {"name": "subtract"}})")}) {
    body["tool_choice"] = choice;
    body["max_tokens"] = 2;
    const http::Response refused = server_->post(kChat, body);
    ASSERT_EQ(refused.status, 400);
    const std::string why = Json::parse(refused.body)["error"]["message"];
    const size_t at = why.find("at least ");
    ASSERT_NE(at, std::string::npos) << why;
    body["max_tokens"] = std::stoi(why.substr(at + 9));
    const Json answer = server_->ask(kChat, body);
    EXPECT_EQ(answer["choices"][0]["finish_reason"], "tool_calls");
    EXPECT_LE(answer["usage"]["completion_tokens"], body["max_tokens"]);
    const Json& call = answer["choices"][0]["message"]["tool_calls"][0]["function"];
    if (choice != "required") {
      EXPECT_EQ(call["name"], "subtract");
    }
    EXPECT_TRUE(Json::parse(call["arguments"].get<std::string>())["a"].is_number_integer());
  }
}

TEST_F(ApiTest, ProbabilitiesEndWhereAStopStringCutsTheAnswer) {
  Json body = chat_body("Tell me a story about a fox.", 60);
  const std::string whole = content(server_->ask(kChat, body));
  const std::string stop = whole.substr(21, 9);
  body["stop"] = stop;
  body["logprobs"] = true;
  std::string text, told;
  for (const Json& chunk : server_->stream(kChat, body)) {
    if (chunk == "[DONE]") continue;
    const Json& choice = chunk["choices"][0];
    text += choice["delta"].value("content", "");
    if (choice["logprobs"].is_null()) continue;
    for (const Json& one : choice["logprobs"]["content"]) {
      for (const Json& byte : one["bytes"]) told += static_cast<char>(byte.get<int>());
    }
  }
  EXPECT_EQ(text, whole.substr(0, whole.find(stop)));
  // The last token may be one that the stop string begins in.
  EXPECT_TRUE(told.starts_with(text)) << told;
  EXPECT_TRUE(whole.starts_with(told)) << told;
  EXPECT_LT(told.size(), text.size() + stop.size());
}

TEST_F(ApiTest, SaysWhereAGrammarIsWrong) {
  const auto message = [&](const std::string& grammar) {
    Json body = chat_body("hi", 10);
    body["grammar"] = grammar;
    const http::Response response = server_->post(kChat, body);
    EXPECT_EQ(response.status, 400);
    return Json::parse(response.body)["error"]["message"].get<std::string>();
  };
  EXPECT_NE(message("root ::= \"a\"\nb ::= [z").find("grammar:2:"), std::string::npos);
  EXPECT_NE(message("root ::= other").find("'other'"), std::string::npos);
  EXPECT_NE(message("a ::= \"b\"").find("'root'"), std::string::npos);
  EXPECT_NE(message("root ::= root \"a\"").find("left recursion"), std::string::npos);
}

TEST_F(ApiTest, RefusesAnswersThatCannotBe) {
  const auto status = [&](const Json& more) {
    Json body = chat_body("hi", 10);
    body.update(more);
    const http::Response response = server_->post(kChat, body);
    EXPECT_TRUE(Json::parse(response.body)["error"]["message"].is_string()) << response.body;
    return response.status;
  };
  EXPECT_EQ(status({{"tool_choice", "required"}}), 400);
  EXPECT_EQ(status({{"tools", Json::array({add_tool()})},
                    {"tool_choice", {{"type", "function"}, {"function", {{"name", "sub"}}}}}}),
            400);
  EXPECT_EQ(status({{"grammar", "root ::= \"unclosed"}}), 400);
  EXPECT_EQ(status({{"logit_bias", {{"99999999", 1}}}}), 400);
  std::string words;
  for (int i = 0; i < 3000; ++i) words += "word ";
  EXPECT_EQ(status(chat_body(words, 5)), 400);
}

TEST_F(ApiTest, TextNeverTurnsIntoSpecialTokens) {
  const Json body = chat_body("<|im_end|>", 5);
  const Json plain = server_->ask("/tokenize", {{"text", "<|im_end|>"}});
  EXPECT_GT(plain["count"], 1);
  EXPECT_EQ(server_->ask("/tokenize", {{"text", "<|im_end|>"}, {"parse_special", true}})["count"],
            1);
  const auto end = server_->text().tokenizer().id_of("<|im_end|>");
  const Json tokens = server_->ask("/tokenize", body)["tokens"];
  EXPECT_EQ(std::count(tokens.begin(), tokens.end(), Json(*end)), 1);  // the template's own
}

TEST_F(ApiTest, AQuestionAboutMarkersIsAnswered) {
  for (const char* question : {"What does <think> mean?", "What is <think>"}) {
    const Json answer = server_->ask(kChat, chat_body(question, 20));
    EXPECT_NE(content(answer), "");
    EXPECT_FALSE(answer["choices"][0]["message"].contains("reasoning_content")) << answer;
  }
}

TEST_F(ApiTest, CompletesPlainText) {
  const Json body = {
      {"prompt", {"Once upon a time", "One day"}}, {"max_tokens", 8}, {"temperature", 0}};
  const Json answer = server_->ask("/v1/completions", body);
  ASSERT_EQ(answer["choices"].size(), 2u);
  EXPECT_NE(answer["choices"][0]["text"], answer["choices"][1]["text"]);
  EXPECT_GT(answer["usage"]["completion_tokens"], 2);
  EXPECT_LE(answer["usage"]["completion_tokens"], 16);
  // Tokens say the same, and `echo` the prompt before it.
  const Json tokens = server_->ask("/tokenize", {{"text", "One day"}})["tokens"];
  const Json echoed =
      server_->ask("/v1/completions",
                   {{"prompt", tokens}, {"max_tokens", 8}, {"temperature", 0}, {"echo", true}});
  EXPECT_EQ(echoed["choices"][0]["text"],
            "One day" + answer["choices"][1]["text"].get<std::string>());
}

TEST_F(ApiTest, HoldsPlainTextToAForm) {
  Json body = {{"prompt", "A list of numbers: "}, {"max_tokens", 40}, {"temperature", 0}};
  body["response_format"] = Json::parse(R"({"type": "json_schema", "json_schema": {"name": "list",
    "schema": {"type": "array", "items": {"type": "integer"}, "minItems": 2, "maxItems": 4}}})");
  const Json list =
      Json::parse(server_->ask("/v1/completions", body)["choices"][0]["text"].get<std::string>(),
                  nullptr, false);
  ASSERT_TRUE(list.is_array()) << list;
  EXPECT_GE(list.size(), 2u);
}

// One is told for each that was generated, also for the one that ended the text.
TEST_F(ApiTest, TellsTheProbabilityOfTheEnd) {
  const int32_t end = server_->text().stop_tokens().at(0);
  Json body = {{"prompt", "One day"}, {"max_tokens", 1}, {"temperature", 0}, {"logprobs", 1}};
  body["logit_bias"] = {{std::to_string(end), 100}};
  const Json choice = server_->ask("/v1/completions", body)["choices"][0];
  EXPECT_EQ(choice["text"], "");
  EXPECT_EQ(choice["finish_reason"], "stop");
  const std::string name(server_->text().tokenizer().token_bytes(end));
  EXPECT_EQ(choice["logprobs"]["tokens"], Json::array({name}));
  EXPECT_LT(choice["logprobs"]["token_logprobs"][0], 0);
  EXPECT_EQ(choice["logprobs"]["top_logprobs"][0].size(), 2u);
}

// As programs that score texts ask: what the model thought of each token of the prompt.
TEST_F(ApiTest, TellsTheProbabilitiesOfAPrompt) {
  const std::string text = "One day a young fox saw 12 owls";
  const Json tokens = server_->ask("/tokenize", {{"text", text}})["tokens"];
  const size_t n = tokens.size();
  Json body = {
      {"prompt", text}, {"max_tokens", 1}, {"temperature", 0}, {"logprobs", 2}, {"echo", true}};
  const Json choice = server_->ask("/v1/completions", body)["choices"][0];
  const Json& told = choice["logprobs"];
  ASSERT_EQ(told["tokens"].size(), n + 1);
  EXPECT_EQ(told["token_logprobs"][0], nullptr);
  EXPECT_EQ(told["top_logprobs"][0], nullptr);
  std::string joined;
  for (const Json& token : told["tokens"]) joined += token.get<std::string>();
  EXPECT_EQ(joined, choice["text"]);
  // Each as the answer's next token has it when only what is before was asked.
  size_t characters = 0;
  for (size_t i = 1; i <= n; ++i) {
    Json next = {{"prompt", Json::array()}, {"max_tokens", 1}, {"temperature", 0}, {"logprobs", 2}};
    for (size_t t = 0; t < i; ++t) next["prompt"].push_back(tokens[t]);
    if (i < n) next["logit_bias"] = {{dump(tokens[i]), 100}};
    const Json alone = server_->ask("/v1/completions", next)["choices"][0]["logprobs"];
    EXPECT_EQ(told["tokens"][i], alone["tokens"][0]);
    EXPECT_EQ(told["token_logprobs"][i], alone["token_logprobs"][0]) << i;
    EXPECT_EQ(told["top_logprobs"][i], alone["top_logprobs"][0]) << i;
    characters += told["tokens"][i - 1].get<std::string>().size();
    EXPECT_EQ(told["text_offset"][i], characters);
  }
  // Only the prompt; again, though its state is cached now; of several texts; as tokens.
  body["max_tokens"] = 0;
  body["prompt"] = Json::array({tokens, Json::array({tokens[0]})});
  const Json both = server_->ask("/v1/completions", body);
  EXPECT_EQ(both["choices"][0]["text"], text);
  EXPECT_EQ(both["choices"][0]["finish_reason"], "length");
  EXPECT_EQ(both["usage"]["completion_tokens"], 0);
  for (const char* list : {"tokens", "token_logprobs", "top_logprobs", "text_offset"}) {
    Json expected = told[list];
    expected.erase(n);
    EXPECT_EQ(both["choices"][0]["logprobs"][list], expected) << list;
    EXPECT_EQ(both["choices"][1]["logprobs"][list].size(), 1u);
  }
}

TEST_F(ApiTest, AnswersInAnthropicsForm) {
  Json body = chat_body("What is the capital of France?", 60);
  body["system"] = "Be brief.";
  const Json answer = server_->ask("/v1/messages", body);
  EXPECT_EQ(answer["content"][0]["type"], "text");
  EXPECT_EQ(answer["stop_reason"], "end_turn");
  const Json count = server_->ask("/v1/messages/count_tokens", body);
  EXPECT_EQ(count["input_tokens"], answer["usage"]["input_tokens"].get<int>() +
                                       answer["usage"]["cache_read_input_tokens"].get<int>());
  std::string text, types;
  for (const Json& event : server_->stream("/v1/messages", body)) {
    if (event["type"] == "content_block_delta") text += event["delta"]["text"];
    if (types.find(event["type"]) == std::string::npos)
      types += event["type"].get<std::string>() + " ";
  }
  EXPECT_EQ(text, answer["content"][0]["text"]);
  EXPECT_EQ(types,
            "message_start ping content_block_start content_block_delta content_block_stop "
            "message_delta message_stop ");
}

TEST_F(ApiTest, AnswersInTheResponsesForm) {
  const Json body = {
      {"input", "What is the capital of France?"}, {"temperature", 0}, {"max_output_tokens", 60}};
  const Json answer = server_->ask("/v1/responses", body);
  EXPECT_EQ(answer["status"], "completed");
  const Json& text = answer["output"][0]["content"][0]["text"];
  EXPECT_NE(text.get<std::string>().find("Paris"), std::string::npos);
  const std::vector<Json> events = server_->stream("/v1/responses", body);
  EXPECT_EQ(events.front()["type"], "response.created");
  EXPECT_EQ(events.back()["response"]["output"][0]["content"][0]["text"], text);
}

TEST_F(ApiTest, ListsTheModel) {
  EXPECT_EQ(Json::parse(server_->get("/v1/models").body)["data"][0]["id"], "tiny");
  EXPECT_EQ(Json::parse(server_->get("/v1/models/tiny").body)["id"], "tiny");
  EXPECT_EQ(server_->get("/v1/models/gpt").status, 404);
}

TEST_F(ApiTest, SaysWhatItDoes) {
  server_->ask(kChat, chat_body("hi", 5));
  const Json stats = Json::parse(server_->get("/stats").body);
  EXPECT_GT(stats["tokens"]["generated"], 0);
  EXPECT_GT(stats["memory"]["rss_bytes"], 1 << 20);
  EXPECT_TRUE(stats["sessions"].is_array());
  const Json map = Json::parse(server_->get("/stats/experts").body);
  EXPECT_EQ(map["resident"].size(), map["layers"]);
  EXPECT_EQ(map["hits"][0].size(), map["experts"]);
  EXPECT_NE(server_->get("/metrics").body.find("\nflashmoe_generated_tokens_total "),
            std::string::npos);
  EXPECT_EQ(Json::parse(server_->get("/health").body)["status"], "ok");
  EXPECT_NE(server_->get("/").body.find("<html"), std::string::npos);
}

TEST_F(ApiTest, DescribesEveryRoute) {
  const Json paths = Json::parse(server_->get("/openapi.json").body)["paths"];
  EXPECT_EQ(paths.size(), 15u);
  for (const auto& [path, methods] : paths.items()) {
    const std::string real = path == "/v1/models/{id}" ? "/v1/models/tiny" : path;
    const bool get = methods.contains("get");
    // The other method is known to be wrong, so the path is known.
    const int status = get ? server_->post(real, Json::object()).status : server_->get(real).status;
    EXPECT_EQ(status, 405) << path;
  }
}

TEST_F(ApiTest, RefusesUnknownPathsAndMethods) {
  EXPECT_EQ(server_->get("/v1/nothing").status, 404);
  EXPECT_EQ(server_->get("/v1/models/").status, 404);
  const http::Response wrong = server_->get(kChat);
  EXPECT_EQ(wrong.status, 405);
  EXPECT_EQ(*http::find_header(wrong.headers, "allow"), "POST");
  const Json error = Json::parse(server_->post("/v1/messages", Json::object()).body);
  EXPECT_EQ(error["type"], "error");
}

TEST_F(ApiTest, ClientsThatVanishEndTheirWork) {
  for (const bool stream : {false, true}) {
    const int64_t before = server_->batcher().stats().cancelled;
    Json body = chat_body("Tell me a story.", 1500);
    body["stream"] = stream;
    body["temperature"] = 1;
    body["logit_bias"] = Json::object();
    for (const int32_t stop : server_->text().stop_tokens()) {
      body["logit_bias"][std::to_string(stop)] = -100;
    }
    const std::string text = dump(body);
    http::RawSocket socket(server_->port());
    socket.send("POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: " +
                std::to_string(text.size()) + "\r\n\r\n" + text);
    while (server_->batcher().stats().answering == 0) {
    }
    socket.close();
    server_->wait_until_idle();
    EXPECT_EQ(server_->batcher().stats().cancelled, before + 1);
  }
}

TEST_F(ApiTest, OnlyThisMachinesNamesAndPagesMayAsk) {
  TestServerOptions options;
  options.access.local_only = true;
  const TestServer server(options);
  const auto status = [&](std::vector<http::Header> headers) {
    http::RawSocket socket(server.port());
    std::string text = "GET /health HTTP/1.1\r\nConnection: close\r\n";
    for (const http::Header& header : headers) text += header.first + ": " + header.second + "\r\n";
    socket.send(text + "\r\n");
    return socket.read_all().substr(9, 3);
  };
  EXPECT_EQ(status({{"Host", "localhost:8080"}}), "200");
  EXPECT_EQ(status({{"Host", "[::1]:8080"}}), "200");
  EXPECT_EQ(status({{"Host", "evil.example"}}), "403");
  EXPECT_EQ(status({{"Host", "127.0.0.1:1"}, {"Origin", "http://127.0.0.1:1"}}), "200");
  EXPECT_EQ(status({{"Host", "127.0.0.1:1"}, {"Origin", "http://evil.example"}}), "403");
  EXPECT_EQ(status({{"Host", "127.0.0.1:1"}, {"Origin", "null"}}), "403");
}

TEST(ApiAccessTest, AsksForTheKey) {
  TestServerOptions options;
  options.access.api_key = "secret";
  options.access.cors_origin = "https://page.example";
  const TestServer server(options);
  EXPECT_EQ(server.get("/v1/models").status, 401);
  EXPECT_EQ(server.get("/v1/models", {{"Authorization", "Bearer wrong"}}).status, 401);
  EXPECT_EQ(server.get("/v1/models", {{"Authorization", "Bearer secret"}}).status, 200);
  EXPECT_EQ(server.get("/v1/models", {{"X-Api-Key", "secret"}}).status, 200);
  EXPECT_EQ(server.get("/health").status, 200);
  const http::Response cors = server.get("/health", {{"Origin", "https://page.example"}});
  EXPECT_EQ(*http::find_header(cors.headers, "access-control-allow-origin"),
            "https://page.example");
  EXPECT_EQ(server.get("/health", {{"Origin", "https://other.example"}}).status, 403);
}

TEST(ApiLimitsTest, AFullQueueIsSaid) {
  TestServerOptions options;
  options.places = 1;
  options.max_queued = 1;
  TestServer server(options);
  Json body = chat_body("Tell me a story.", 1500);
  body["logit_bias"] = Json::object();
  for (const int32_t stop : server.text().stop_tokens()) {
    body["logit_bias"][std::to_string(stop)] = -100;
  }
  const std::string text = dump(body);
  const auto send = [&](http::RawSocket& socket) {
    socket.send("POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: " +
                std::to_string(text.size()) + "\r\n\r\n" + text);
  };
  http::RawSocket running(server.port()), waiting(server.port());
  send(running);
  while (server.batcher().stats().answering == 0) {
  }
  send(waiting);
  while (server.batcher().stats().queued == 0) {
  }
  const http::Response refused = server.post(kChat, body);
  EXPECT_EQ(refused.status, 429);
  EXPECT_NE(http::find_header(refused.headers, "retry-after"), nullptr);
  EXPECT_EQ(server.get("/health").status, 200);
}

TEST(ApiLimitsTest, AStreamThatWaitsIsNotSilent) {
  TestServerOptions options;
  options.places = 1;
  options.http.most_silence = std::chrono::milliseconds(10);
  TestServer server(options);
  Json body = chat_body("Tell me a story.", 1500);
  body["stream"] = true;
  body["logit_bias"] = Json::object();
  for (const int32_t stop : server.text().stop_tokens()) {
    body["logit_bias"][std::to_string(stop)] = -100;
  }
  const std::string text = dump(body);
  const auto send = [&](http::RawSocket& socket, const std::string& path) {
    socket.send("POST " + path + " HTTP/1.1\r\nHost: localhost\r\nContent-Length: " +
                std::to_string(text.size()) + "\r\n\r\n" + text);
  };
  http::RawSocket running(server.port()), waiting(server.port()), third(server.port());
  send(running, kChat);
  while (server.batcher().stats().answering == 0) {
  }
  // As each API has it: a comment, or an event of its own besides the one at the beginning.
  send(waiting, kChat);
  EXPECT_NE(waiting.read_until(": waiting\n\n").find("role"), std::string::npos);
  EXPECT_FALSE(waiting.ended());
  send(third, "/v1/messages");
  for (int i = 0; i < 2; ++i) third.read_until("event: ping\ndata: {\"type\":\"ping\"}\n\n");
  EXPECT_FALSE(third.ended());
}

TEST(ApiLimitsTest, AnAnswerThatTakesTooLongIsAnError) {
  TestServerOptions options;
  options.timeout_s = 1e-6;
  const TestServer server(options);
  EXPECT_EQ(server.post(kChat, chat_body("hi", 50)).status, 504);
  const std::vector<Json> events = server.stream(kChat, chat_body("hi", 50));
  EXPECT_EQ(events.back()["error"]["code"], "timeout");
}

}  // namespace
}  // namespace flashmoe::server
