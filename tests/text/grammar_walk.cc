// Answers of no model: random texts of grammars. Reads lines of JSON {"schema": …} or {"gbnf": "…"}
// or
// {"tools": […], "format": "json"|"xml", "choice": "auto"|"required", "parallel": true}, with
// "seed" and "limit" (tokens) and "prefer" (the share of steps, in percent, that go the shortest
// way), writes for each {"text", "tokens"}, or {"error"}; "text" is whole however small the limit.
// tools/check_schemas.py validates.
//
//   grammar_walk TOKENIZER.json < lines > answers
#include <fmt/format.h>

#include <algorithm>
#include <cstdio>
#include <ctime>
#include <iostream>
#include <nlohmann/json.hpp>
#include <random>
#include <string>

#include "base/error.h"
#include "text/grammar/gbnf.h"
#include "text/grammar_constraint.h"
#include "text/json_schema.h"
#include "text/tool_grammar.h"
#include "text/tool_parser.h"

namespace {

using Json = nlohmann::ordered_json;
using namespace flashmoe::text;

ToolFormat format_of(const Json& line) {
  return line["format"] == "xml" ? ToolFormat::kXml : ToolFormat::kJson;
}

Grammar grammar_of(const Json& line) {
  if (line.contains("gbnf")) return parse_gbnf(line["gbnf"].get<std::string>(), "gbnf");
  if (line.contains("tools")) {
    ToolChoice choice;
    if (line["choice"] == "required") choice.kind = ToolChoice::kRequired;
    choice.parallel = line.value("parallel", true);
    return tool_grammar(format_of(line), read_tools(line["tools"]), choice);
  }
  if (line["schema"] == "json_object") return json_object_grammar();
  return json_schema_grammar(line["schema"]);
}

Json walk(const Json& line, const std::shared_ptr<GrammarVocabulary>& vocabulary) {
  const auto compiled = std::make_shared<CompiledGrammar>(grammar_of(line), vocabulary);
  std::mt19937_64 random(line.value("seed", 0));
  const int64_t limit = line.value("limit", int64_t{0}) + compiled->shortest();
  const auto prefer = line.value("prefer", uint64_t{0});
  GrammarConstraint constraint(compiled);
  std::vector<uint64_t> bits(vocabulary->mask_words());
  std::vector<int32_t> choices;
  std::string text;
  int64_t tokens = 0;
  double all_us = 0, most_us = 0;  // of processor time, for masks
  for (; tokens < limit; ++tokens) {
    if (constraint.may_end() && random() % 4 == 0) break;
    const bool shortest = random() % 100 < prefer;
    const std::clock_t start = std::clock();
    constraint.allowed(shortest ? constraint.shortest_completion() : limit - tokens, bits);
    const double us = 1e6 * static_cast<double>(std::clock() - start) / CLOCKS_PER_SEC;
    all_us += us;
    most_us = std::max(most_us, us);
    choices.clear();
    for (size_t word = 0; word < bits.size(); ++word) {
      for (uint64_t rest = bits[word]; rest != 0; rest &= rest - 1) {
        choices.push_back(static_cast<int32_t>(word * 64) + std::countr_zero(rest));
      }
    }
    if (choices.empty()) break;
    const int32_t token = choices[random() % choices.size()];
    constraint.accept(token);
    text += vocabulary->bytes(token);
  }
  if (!constraint.may_end()) return {{"failure", "the answer is not whole"}, {"text", text}};
  Json answer = {{"text", text}, {"tokens", tokens}, {"shortest", compiled->shortest()}};
  answer["mask_us"] = {all_us / static_cast<double>(std::max<int64_t>(tokens, 1)), most_us};
  if (line.contains("tools")) {
    const std::vector<Tool> tools = read_tools(line["tools"]);
    ToolParser parser(format_of(line), tools, true);
    std::vector<ToolEvent> events = parser.push(text);
    for (ToolEvent& event : parser.finish()) events.push_back(std::move(event));
    Json calls = Json::array();
    std::string content;
    for (const ToolEvent& event : events) {
      if (event.kind == ToolEvent::kContent) content += event.text;
      if (event.kind == ToolEvent::kCallBegin)
        calls.push_back({{"name", event.text}, {"arguments", ""}});
      if (event.kind == ToolEvent::kArguments) {
        Json& arguments = calls.back()["arguments"];
        arguments = arguments.get<std::string>() + event.text;
      }
    }
    answer["calls"] = calls;
    answer["content"] = content;
  }
  return answer;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) {
    fmt::print(stderr, "usage: grammar_walk TOKENIZER.json < lines\n");
    return 2;
  }
  const Tokenizer tokenizer = Tokenizer::from_file(argv[1]);
  const auto vocabulary = std::make_shared<GrammarVocabulary>(tokenizer);
  for (std::string line; std::getline(std::cin, line);) {
    Json answer;
    try {
      answer = walk(Json::parse(line), vocabulary);
    } catch (const flashmoe::Error& error) {
      answer = {{"error", error.what()}};
    }
    fmt::print("{}\n", answer.dump(-1, ' ', false, Json::error_handler_t::strict));
    std::fflush(stdout);
  }
}
