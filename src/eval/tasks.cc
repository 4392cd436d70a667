#include "eval/tasks.h"

#include <algorithm>
#include <utility>

#include "base/error.h"
#include "text/json_message.h"

namespace flashmoe::eval {

namespace {

constexpr std::string_view kOpen = "<tool_call>", kClose = "</tool_call>";
constexpr std::string_view kSpace = " \t\r\n";

std::string_view trim(std::string_view text) {
  const size_t begin = text.find_first_not_of(kSpace);
  if (begin == std::string_view::npos) return {};
  return text.substr(begin, text.find_last_not_of(kSpace) - begin + 1);
}

// discarded() when the text is no JSON.
Json parse_quietly(std::string_view text) { return Json::parse(text, nullptr, false); }

// The insides of the answer's tool calls; of one that is not closed, all that follows.
std::vector<std::string_view> call_texts(std::string_view answer) {
  std::vector<std::string_view> calls;
  for (size_t at = answer.find(kOpen); at != std::string_view::npos; at = answer.find(kOpen)) {
    answer.remove_prefix(at + kOpen.size());
    const size_t end = answer.find(kClose);
    calls.push_back(trim(answer.substr(0, end)));
    answer.remove_prefix(end == std::string_view::npos ? answer.size() : end + kClose.size());
  }
  return calls;
}

bool is_call(const Json& json) {
  return json.is_object() && json.contains("name") && json["name"].is_string() &&
         json.contains("arguments") && json["arguments"].is_object();
}

// Key order does not matter to what JSON means.
nlohmann::json unordered(const Json& json) { return nlohmann::json(json); }

bool wants_call(const Task& task) {
  if (task.want.is_string()) {
    return task.want.get_ref<const std::string&>().find(kOpen) != std::string::npos;
  }
  const Json& first = task.want.is_array() && !task.want.empty() ? task.want[0] : task.want;
  return is_call(first);
}

bool wants_json(const Task& task) {
  if (!task.want.is_string()) return true;
  const std::string_view want = trim(task.want.get_ref<const std::string&>());
  return (want.starts_with('{') || want.starts_with('[')) && !parse_quietly(want).is_discarded();
}

Task parse_task(std::string_view line) {
  Json json = Json::parse(line);
  if (!json.is_object()) throw Error(ErrorCode::kCorrupt, "is no object");
  const auto take = [&](const char* key, auto&& fits, const char* what) {
    const auto found = json.find(key);
    if (found == json.end() || !fits(*found)) {
      throw_error(ErrorCode::kCorrupt, "has no `{}` that is {}", key, what);
    }
    return *found;
  };
  Task task;
  task.kind = take(
      "kind", [](const Json& j) { return j.is_string(); }, "a string");
  task.variables["messages"] = take(
      "messages", [](const Json& j) { return j.is_array() && !j.empty(); }, "a list");
  task.want = take(
      "want", [](const Json& j) { return j.is_string() || j.is_structured(); },
      "a string, object or list");
  if (json.contains("tools") && !json["tools"].is_null()) {
    task.variables["tools"] = take(
        "tools", [](const Json& j) { return j.is_array(); }, "a list");
  }
  return task;
}

}  // namespace

std::vector<Task> parse_tasks(std::string_view text, const std::string& name) {
  std::vector<Task> tasks;
  for (int number = 1; !text.empty(); ++number) {
    const size_t end = text.find('\n');
    const std::string_view line = trim(text.substr(0, end));
    text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
    if (line.empty()) continue;
    try {
      tasks.push_back(parse_task(line));
    } catch (const Json::exception& error) {
      throw_error(ErrorCode::kCorrupt, "{}:{}: is no task: {}", name, number,
                  text::json_message(error));
    } catch (const Error& error) {
      throw_error(ErrorCode::kCorrupt, "{}:{}: the task {}", name, number, error.what());
    }
  }
  if (tasks.empty()) throw_error(ErrorCode::kCorrupt, "{}: there are no tasks in it", name);
  return tasks;
}

std::string_view answer_text(std::string_view answer) {
  constexpr std::string_view kEndOfThought = "</think>";
  const size_t thought = answer.rfind(kEndOfThought);
  if (thought != std::string_view::npos) answer.remove_prefix(thought + kEndOfThought.size());
  return trim(answer);
}

bool is_right(const Task& task, std::string_view answer) {
  answer = answer_text(answer);
  if (task.want.is_string()) return answer == trim(task.want.get_ref<const std::string&>());
  const nlohmann::json want = unordered(task.want);
  const std::vector<std::string_view> calls = call_texts(answer);
  if (calls.empty()) return unordered(parse_quietly(answer)) == want;
  nlohmann::json said = nlohmann::json::array();
  for (const std::string_view call : calls) said.push_back(unordered(parse_quietly(call)));
  return said == want || (said.size() == 1 && said[0] == want);
}

std::optional<bool> has_valid_json(const Task& task, std::string_view answer) {
  answer = answer_text(answer);
  const std::vector<std::string_view> calls = call_texts(answer);
  if (!calls.empty()) {
    return std::all_of(calls.begin(), calls.end(),
                       [](std::string_view call) { return is_call(parse_quietly(call)); });
  }
  const bool whole = !parse_quietly(answer).is_discarded();
  if (wants_call(task)) return !task.want.is_string() && whole;
  if (wants_json(task)) return whole;
  return std::nullopt;
}

}  // namespace flashmoe::eval
