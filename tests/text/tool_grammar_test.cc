#include "text/tool_grammar.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <memory>
#include <string>

#include "base/error.h"
#include "tests/text/small_tokenizer.h"
#include "text/grammar_constraint.h"
#include "text/tool_parser.h"

namespace flashmoe::text {
namespace {

using Json = nlohmann::ordered_json;

const char* const kTools = R"([
  {"name": "f", "parameters": {"type": "object", "properties": {
     "s": {"type": "string"}, "n": {"type": "integer"}, "b": {"type": "boolean"},
     "e": {"enum": ["x", "y"]}}, "required": ["s"], "additionalProperties": false}},
  {"name": "g"}])";

const std::string kXml =
    "<tool_call>\n<function=f>\n<parameter=s>\na <b> \"c\"\n\n</parameter>\n<parameter=b>\nTrue\n"
    "</parameter>\n<parameter=e>\ny\n</parameter>\n</function>\n</tool_call>";
const std::string kJson =
    "<tool_call>\n{\"name\": \"f\", \"arguments\": {\"s\": \"\\n</tool_call>\", "
    "\"n\":3}}\n</tool_call>";

// Whether the text may be written; with `special`, the tags are special tokens.
bool accepts(const Grammar& grammar, std::string_view text, bool special) {
  const Tokenizer tokenizer =
      small_tokenizer({}, special ? std::vector<std::string>{"<tool_call>", "</tool_call>"}
                                  : std::vector<std::string>{"<other>"});
  const auto vocabulary = std::make_shared<GrammarVocabulary>(tokenizer);
  GrammarConstraint constraint(std::make_shared<CompiledGrammar>(grammar, vocabulary));
  std::vector<uint64_t> bits(vocabulary->mask_words());
  while (!text.empty()) {
    size_t bytes = 1;
    auto token = static_cast<int32_t>(static_cast<unsigned char>(text[0]));
    for (const char* tag : {"<tool_call>", "</tool_call>"}) {
      if (!special || !text.starts_with(tag)) continue;
      bytes = std::string_view(tag).size();
      token = *tokenizer.id_of(tag);
    }
    constraint.allowed(1 << 20, bits);
    if ((bits[static_cast<size_t>(token) / 64] >> (token % 64) & 1) == 0) return false;
    constraint.accept(token);
    text.remove_prefix(bytes);
  }
  return constraint.may_end();
}

void expect(ToolFormat format, const ToolChoice& choice, const std::vector<std::string>& good,
            const std::vector<std::string>& bad) {
  const Grammar grammar = tool_grammar(format, read_tools(Json::parse(kTools)), choice);
  for (const std::string& text : good) EXPECT_TRUE(accepts(grammar, text, false)) << text;
  for (const std::string& text : bad) EXPECT_FALSE(accepts(grammar, text, false)) << text;
}

TEST(ToolGrammar, WhatMayBeCalledAndHowOften) {
  const std::string none = "<tool_call>\n<function=g>\n</function>\n</tool_call>";
  expect(ToolFormat::kXml, {ToolChoice::kAuto},
         {"", "hello <tool_", kXml, "I look:\n\n" + kXml, kXml + "\n" + none + " done"},
         {"<tool_call>", "<tool_call>x", "<tool_call>\n<function=h>\n</function>\n</tool_call>"});
  expect(ToolFormat::kXml, {.kind = ToolChoice::kAuto, .parallel = false}, {"x" + kXml},
         {kXml + "\n" + none, kXml + " done"});
  expect(ToolFormat::kXml, {ToolChoice::kRequired}, {kXml, "\n\n" + none, kXml + "\n" + none},
         {"", "hello", "x" + kXml, kXml + "x"});
  expect(ToolFormat::kXml, {ToolChoice::kNamed, "g"}, {none}, {"", kXml, none + "\n" + none});
  expect(ToolFormat::kJson, {ToolChoice::kAuto},
         {kJson, "<tool_call>\n{\"name\": \"g\", \"arguments\": {\"any\":[1]}}\n</tool_call>"},
         {"<tool_call>\n{\"name\": \"f\", \"arguments\": {}}\n</tool_call>"});
}

TEST(ToolGrammar, CallsToolsOrAnswersByASchema) {
  ToolChoice choice;
  choice.answer_schema = Json::parse(R"({"type": "object", "required": ["n"],
    "additionalProperties": false, "properties": {"n": {"type": "integer"}}})");
  const std::string answer = R"({"n": 3})";
  expect(ToolFormat::kJson, choice, {answer, kJson, kJson + "\n" + kJson, "\n" + kJson},
         {"", "hello", R"({"n": "3"})", answer + "\n" + kJson, kJson + "\n" + answer});
  choice.parallel = false;
  expect(ToolFormat::kXml, choice, {answer, kXml}, {kXml + "\n" + kXml, answer + kXml});
  choice.kind = ToolChoice::kRequired;
  expect(ToolFormat::kXml, choice, {kXml}, {answer});
}

TEST(ToolGrammar, XmlValuesKeepToTheirSchemas) {
  const auto call = [](const std::string& name, const std::string& value) {
    return "<tool_call>\n<function=f>\n<parameter=s>\n\n</parameter>\n<parameter=" + name + ">\n" +
           value + "\n</parameter>\n</function>\n</tool_call>";
  };
  expect(ToolFormat::kXml, {ToolChoice::kRequired},
         {call("n", "-3"), call("b", "false"), call("b", "False"), call("e", "x")},
         {call("n", "\"3\""), call("n", "x"), call("e", "\"x\""), call("e", "z"), call("s", "x"),
          call("zz", "x")});
}

TEST(ToolGrammar, TagsMayBeSpecialTokens) {
  const Grammar grammar = tool_grammar(ToolFormat::kXml, read_tools(Json::parse(kTools)), {});
  EXPECT_TRUE(accepts(grammar, "x\n" + kXml, true));
}

TEST(ToolGrammar, SchemasThatCannotBeHonoured) {
  const auto tools = [](const char* strict) {
    return read_tools(Json::parse(std::string(R"([{"name": "f", "strict": )") + strict +
                                  R"(, "parameters": {"type": "object", "properties": {"a":
                                  {"type": "array", "uniqueItems": true}}}}])"));
  };
  EXPECT_THROW(tool_grammar(ToolFormat::kJson, tools("true"), {}), Error);
  EXPECT_TRUE(accepts(tool_grammar(ToolFormat::kJson, tools("false"), {}),
                      "<tool_call>\n{\"name\": \"f\", \"arguments\": {\"a\":[1,1]}}\n</tool_call>",
                      false));
  EXPECT_TRUE(accepts(tool_grammar(ToolFormat::kXml, tools("false"), {}),
                      "<tool_call>\n<function=f>\n<parameter=a>\n[1,1]\n</parameter>\n</function>\n"
                      "</tool_call>",
                      false));
  EXPECT_THROW(tool_grammar(ToolFormat::kJson, {}, {}), Error);
  EXPECT_THROW(tool_grammar(ToolFormat::kJson, tools("false"), {ToolChoice::kNamed, "g"}), Error);
  EXPECT_THROW(tool_grammar(ToolFormat::kNone, tools("false"), {}), Error);
}

// Arguments, as the parser gave them, go back into the template and come out as the model wrote
// them.
TEST(ToolFormat, HistoryRendersToTheSameBytes) {
  const std::filesystem::path source = FLASHMOE_SOURCE_DIR;
  const struct {
    std::filesystem::path path;
    ToolFormat format;
  } templates[] = {
      {source / "models/tiny/chat_template.jinja", ToolFormat::kJson},
      {source / "../shared/chat-templates/Qwen-Qwen3-0.6B.jinja", ToolFormat::kJson},
      {source / "../shared/chat-templates/Qwen3-Coder.jinja", ToolFormat::kXml},
      {source / "../shared/chat-templates/Qwen3.5-4B.jinja", ToolFormat::kXml},
  };
  for (const auto& t : templates) {
    if (!std::filesystem::exists(t.path)) GTEST_SKIP() << t.path << " is not there";
    std::string text(std::filesystem::file_size(t.path), '\0');
    std::FILE* const file = std::fopen(t.path.c_str(), "rb");
    ASSERT_NE(file, nullptr);
    text.resize(std::fread(text.data(), 1, text.size(), file));
    std::fclose(file);
    const ModelChatTemplate chat{ChatTemplate::parse(text, t.path.string()), Json::object()};
    ASSERT_EQ(detect_tool_format(chat), t.format) << t.path;

    const std::vector<Tool> tools = read_tools(Json::parse(kTools));
    const bool is_json = t.format == ToolFormat::kJson;
    const std::string call = is_json ? kJson : kXml;
    ToolParser parser(t.format, tools, true);
    std::string arguments;
    for (const ToolEvent& event : parser.push(call)) {
      if (event.kind == ToolEvent::kArguments) arguments += event.text;
    }
    Json variables;
    const Json user = {{"role", "user"}, {"content", "q"}};
    variables["messages"] = Json::array({user});
    variables["add_generation_prompt"] = true;
    const std::string prompt = chat.render(variables).text;
    variables["messages"].push_back(
        {{"role", "assistant"},
         {"content", ""},
         {"tool_calls",
          Json::array({{{"function",
                         {{"name", "f"},
                          {"arguments", is_json ? Json(arguments) : Json::parse(arguments)}}}}})}});
    variables["messages"].push_back({{"role", "tool"}, {"content", "r"}});
    const std::string history = chat.render(variables).text;
    EXPECT_NE(history.find(call + "<|im_end|>"), std::string::npos) << t.path << history;
    EXPECT_TRUE(history.starts_with(prompt.substr(0, prompt.find("<think>")))) << t.path;
    // The other way: the raw text of the answer as its content.
    variables["messages"][1] = {{"role", "assistant"}, {"content", "Look:\n" + call}};
    EXPECT_NE(chat.render(variables).text.find("Look:\n" + call + "<|im_end|>"), std::string::npos)
        << t.path;
  }
}

}  // namespace
}  // namespace flashmoe::text
