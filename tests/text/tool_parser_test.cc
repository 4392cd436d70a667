#include "text/tool_parser.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace flashmoe::text {
namespace {

using Json = nlohmann::ordered_json;

const std::vector<Tool>& tools() {
  static const auto* const kTools = new std::vector<Tool>(read_tools(Json::parse(R"([
    {"type": "function", "function": {"name": "weather", "parameters": {"type": "object",
      "properties": {"city": {"type": "string"}, "days": {"type": "integer"},
                     "exact": {"type": "boolean"}, "tags": {"type": "array"},
                     "note": {"type": ["string", "null"]}, "any": {}}}}},
    {"name": "now"}])")));
  return *kTools;
}

// Events as lines; contents and arguments that follow each other are joined. How arguments are
// spelled is left out.
std::string parse(ToolFormat format, std::string_view text, size_t size, bool whole) {
  ToolParser parser(format, tools(), whole);
  std::string lines;
  int last = -1;
  const auto add = [&](const std::vector<ToolEvent>& events) {
    for (const ToolEvent& event : events) {
      if (event.kind == ToolEvent::kSpelledArguments) continue;
      const bool joined = last == event.kind && (event.kind == ToolEvent::kContent ||
                                                 event.kind == ToolEvent::kArguments);
      if (joined) {
        lines.insert(lines.size() - 1, event.text);
        continue;
      }
      last = event.kind;
      const char* const names[] = {"content", "begin", "args", "", "end", "broken"};
      lines += names[event.kind];
      if (event.kind != ToolEvent::kContent) lines += std::to_string(event.index);
      lines += " " + event.text + "|";
    }
  };
  for (; !text.empty(); text.remove_prefix(std::min(size, text.size()))) {
    add(parser.push(text.substr(0, size)));
  }
  add(parser.finish());
  return lines;
}

void expect_any_cut(ToolFormat format, const std::string& text, const std::string& streamed,
                    const std::string& whole) {
  for (size_t size = 1; size <= text.size() + 1; ++size) {
    EXPECT_EQ(parse(format, text, size, false), streamed) << text << " by " << size;
    EXPECT_EQ(parse(format, text, size, true), whole) << text << " by " << size;
  }
}

void expect_any_cut(ToolFormat format, const std::string& text, const std::string& lines) {
  expect_any_cut(format, text, lines, lines);
}

TEST(ToolParser, JsonCalls) {
  const std::string one =
      "<tool_call>\n{\"name\": \"weather\", \"arguments\": {\"city\": \"}</tool_call>\", "
      "\"tags\":[1, {}]}}\n</tool_call>";
  const std::string two = "<tool_call>{ \"arguments\" : {} , \"name\":\"n\\u006fw\"}</tool_call>";
  expect_any_cut(
      ToolFormat::kJson, "I look.\n" + one + "\n" + two + "\n",
      "content I look.|begin0 weather|args0 {\"city\": \"}</tool_call>\", \"tags\":[1, {}]}|end0 " +
          one + "|begin1 now|args1 {}|end1 " + two + "|");
  expect_any_cut(ToolFormat::kJson, "<tool_call>\n{\"name\": \"now\"}\n",
                 "begin0 now|args0 {}|end0 <tool_call>\n{\"name\": \"now\"}\n|");
}

TEST(ToolParser, TextThatIsNoCall) {
  for (const char* text : {"plain", " a < b <tool_cal", "x <tool_call> y", "x\n<tool_call>",
                           "<tool_call>{\"name\": 5}", "<tool_call>\n{\"nam",
                           "<tool_call>{\"arguments\": {}}</tool_call>",
                           "<tool_call>{\"name\" \"now\"}", "trailing space \n"}) {
    expect_any_cut(ToolFormat::kJson, text, std::string("content ") + text + "|");
    expect_any_cut(ToolFormat::kNone, text, std::string("content ") + text + "|");
  }
  for (const char* text : {"<tool_call>\n<function=", "<tool_call>\nfunction",
                           "<tool_call></tool_call>", "a <function=now>\n</function>"}) {
    expect_any_cut(ToolFormat::kXml, text, std::string("content ") + text + "|");
  }
}

TEST(ToolParser, BrokenCalls) {
  const std::string cut = "<tool_call>\n{\"name\": \"now\", \"arguments\": {\"a\": [1";
  expect_any_cut(ToolFormat::kJson, "Hm. " + cut,
                 "content Hm.|begin0 now|args0 {\"a\": [1|broken0 " + cut + "|",
                 "content Hm. " + cut + "|");
  // What follows the break is text, and may hold a call.
  const std::string bad = "<tool_call>{\"name\": \"now\", \"arguments\": {]";
  const std::string good = "<tool_call>{\"name\": \"now\"}</tool_call>";
  expect_any_cut(
      ToolFormat::kJson, bad + " so " + good,
      "begin0 now|args0 {|broken0 " + bad + "|content  so|begin1 now|args1 {}|end1 " + good + "|",
      "content " + bad + " so|begin0 now|args0 {}|end0 " + good + "|");
}

TEST(ToolParser, XmlCalls) {
  const std::string call =
      "<tool_call>\n<function=weather>\n<parameter=city>\nNew \"York\"\n</parameter>\n"
      "<parameter=days>\n3\n</parameter>\n<parameter=exact>\nTrue\n</parameter>\n"
      "<parameter=tags>\n[\"a\", {\"b\": 1}]\n</parameter>\n<parameter=note>\nNone\n</parameter>\n"
      "<parameter=any>\n1.50\n</parameter>\n</function>\n</tool_call>";
  expect_any_cut(ToolFormat::kXml, "Look:\n\n" + call,
                 "content Look:|begin0 weather|args0 {\"city\": \"New \\\"York\\\"\", \"days\": 3, "
                 "\"exact\": true, \"tags\": [\"a\", {\"b\": 1}], \"note\": null, \"any\": 1.50}|"
                 "end0 " +
                     call + "|");
  const std::string none = "<tool_call>\n<function=now>\n</function>\n</tool_call>";
  expect_any_cut(ToolFormat::kXml, none + none,
                 "begin0 now|args0 {}|end0 " + none + "|begin1 now|args1 {}|end1 " + none + "|");
}

TEST(ToolParser, TellsHowXmlArgumentsAreSpelled) {
  const std::string call =
      "<tool_call>\n<function=weather>\n<parameter=any>\n1.50\n</parameter>\n"
      "<parameter=exact>\ntrue\n</parameter>\n<parameter=tags>\n[ \"a\" ]\n</parameter>\n"
      "<parameter=city>\n a\n\n</parameter>\n</function>\n</tool_call>";
  for (size_t size = 1; size <= call.size(); ++size) {
    ToolParser parser(ToolFormat::kXml, tools(), false);
    std::string spelled;
    for (std::string_view text = call; !text.empty();
         text.remove_prefix(std::min(size, text.size()))) {
      for (const ToolEvent& event : parser.push(text.substr(0, size))) {
        if (event.kind == ToolEvent::kSpelledArguments) spelled += event.text;
      }
    }
    EXPECT_EQ(spelled, R"({"any":"1.50","exact":"true","tags":"[ \"a\" ]","city":" a\n"})")
        << "by " << size;
  }
}

TEST(ToolParser, XmlValuesThatAreNotOfTheirType) {
  const auto arguments = [](const std::string& key, const std::string& value) {
    const std::string lines = parse(ToolFormat::kXml,
                                    "<tool_call>\n<function=weather>\n<parameter=" + key + ">" +
                                        value + "</parameter>\n</function>\n</tool_call>",
                                    3, true);
    const size_t begin = lines.find("args0 ") + 6;
    return lines.substr(begin, lines.find("|end0") - begin);
  };
  EXPECT_EQ(arguments("days", "\nsoon\n"), R"({"days": "soon"})");
  EXPECT_EQ(arguments("days", "\n\"3\"\n"), R"({"days": "\"3\""})");
  EXPECT_EQ(arguments("note", "\n7\n"), R"({"note": "7"})");
  EXPECT_EQ(arguments("city", "\n\n two\nlines \n\n"), R"({"city": "\n two\nlines \n"})");
  EXPECT_EQ(arguments("city", "\n\n"), R"({"city": ""})");
  EXPECT_EQ(arguments("city", "7"), R"({"city": "7"})");
  EXPECT_EQ(arguments("unknown \"key\"", "\n{\"a\": nothing}\n"),
            R"({"unknown \"key\"": "{\"a\": nothing}"})");
}

TEST(ToolFormat, BadToolsAreNamed) {
  for (const char* bad :
       {R"({})", R"([1])", R"([{"name": ""}])", R"([{"name": "a b"}])",
        R"([{"name": "a"}, {"name": "a"}])", R"([{"name": "a", "parameters": 3}])",
        R"([{"name": "a", "parameters": {"type": "string"}}])"}) {
    EXPECT_ANY_THROW(read_tools(Json::parse(bad))) << bad;
  }
}

TEST(ToolFormat, TypesOfSchemas) {
  const auto types = [](const char* text) {
    const Json schema = Json::parse(text);
    const JsonTypes t = json_types(schema, schema);
    std::string letters;
    for (const auto& [on, letter] : {std::pair{t.string, 's'},
                                     {t.number, 'd'},
                                     {t.boolean, 'b'},
                                     {t.null, 'n'},
                                     {t.object, 'o'},
                                     {t.array, 'a'}}) {
      if (on) letters += letter;
    }
    return letters;
  };
  EXPECT_EQ(types(R"({})"), "sdbnoa");
  EXPECT_EQ(types(R"({"type": ["integer", "null"]})"), "dn");
  EXPECT_EQ(types(R"({"enum": ["a", 1, true]})"), "sdb");
  EXPECT_EQ(types(R"({"anyOf": [{"type": "string"}, {"const": null}]})"), "sn");
  EXPECT_EQ(types(R"({"$ref": "#/$defs/x", "$defs": {"x": {"type": "array"}}})"), "a");
  EXPECT_EQ(types(R"({"$ref": "#"})"), "sdbnoa");
  EXPECT_EQ(types(R"({"allOf": [{"type": ["string", "null"]}, {"type": "string"}]})"), "s");
}

}  // namespace
}  // namespace flashmoe::text
