// Tasks with one right answer each, from a file of JSON lines, and what an answer is worth. Owns
// the file's format and the rules of judgement; runs no model.
//
// A line is an object:
//   kind      string: tasks are counted by it
//   messages  the conversation up to the answer, as chat templates take it
//   tools     optional: definitions of the functions that may be called
//   want      the right answer: a string, or an object or array that the answer's JSON must equal
#pragma once

#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace flashmoe::eval {

using Json = nlohmann::ordered_json;

struct Task {
  std::string kind;
  Json variables;  // of the chat template: messages, perhaps tools
  Json want;
};

// In the order of the file. Throws Error: kCorrupt names the line.
std::vector<Task> parse_tasks(std::string_view text, const std::string& name);

// What counts of an answer: what follows the reasoning, without space at its ends.
std::string_view answer_text(std::string_view answer);

// Whether the answer is exactly what is wanted. A wanted object or array is compared, as JSON, with
// the answer's only tool call, the list of its tool calls, or the whole answer.
bool is_right(const Task& task, std::string_view answer);

// Whether the JSON that the answer should have is valid: every tool call, of which there must be
// one when one is wanted, is an object with a string `name` and an object `arguments`; an answer
// that should be JSON as a whole parses. nullopt when no JSON is wanted and there is no tool call.
std::optional<bool> has_valid_json(const Task& task, std::string_view answer);

}  // namespace flashmoe::eval
