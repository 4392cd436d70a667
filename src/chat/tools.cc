#include "chat/tools.h"

#include <fmt/format.h>

#include <algorithm>
#include <fstream>
#include <iterator>

#include "base/error.h"

namespace flashmoe::chat {

namespace {

constexpr char kShell[] = "shell";

Tool shell_tool() {
  Tool tool;
  tool.name = kShell;
  tool.description =
      "Runs a command with /bin/sh on the user's computer, after the user allowed it, and returns "
      "what it prints.";
  tool.parameters = Json::parse(R"({"type": "object",
    "properties": {"command": {"type": "string", "description": "the command line"}},
    "required": ["command"]})");
  tool.command = {"/bin/sh", "-c", "{command}"};
  return tool;
}

std::string text_of(const Json& value) {
  return value.is_string() ? value.get<std::string>() : value.dump();
}

// Each {name} of a word replaced by that argument; one that is not given becomes nothing.
std::string fill_in(const std::string& word, const Json& arguments, const Json& parameters) {
  std::string filled;
  for (size_t pos = 0; pos < word.size();) {
    const size_t end = word[pos] == '{' ? word.find('}', pos) : std::string::npos;
    if (end == std::string::npos) {
      filled += word[pos++];
      continue;
    }
    const std::string name = word.substr(pos + 1, end - pos - 1);
    if (arguments.contains(name)) {
      filled += text_of(arguments[name]);
    } else if (!parameters.value("properties", Json::object()).contains(name)) {
      filled += word.substr(pos, end + 1 - pos);
    }
    pos = end + 1;
  }
  return filled;
}

// As one would type it, for the question.
std::string shown(const Tool& tool, const std::vector<std::string>& words) {
  if (tool.name == kShell) return words[2];
  std::string line;
  for (const std::string& word : words) {
    const bool plain = !word.empty() && word.find_first_of(" \t\n'\"\\$`|&;<>()*?") == word.npos;
    line += (line.empty() ? "" : " ") + (plain ? word : Json(word).dump());
  }
  return line;
}

Tool parse_tool(const Json& entry, const std::string& where) {
  const auto refuse = [&](const std::string& why) {
    throw_error(ErrorCode::kCorrupt, "{}: {}", where, why);
  };
  if (!entry.is_object()) refuse("a tool is a JSON object");
  Tool tool;
  try {
    tool.name = entry.value("name", "");
    tool.description = entry.value("description", "");
    tool.parameters =
        entry.value("parameters", Json{{"type", "object"}, {"properties", Json::object()}});
    tool.command = entry.value("command", std::vector<std::string>());
    tool.ask = entry.value("ask", true);
    tool.limits.timeout_s = entry.value("timeout_s", tool.limits.timeout_s);
    tool.limits.output_bytes = entry.value("output_bytes", tool.limits.output_bytes);
  } catch (const Json::exception&) {
    refuse(
        "name and description are strings, parameters is an object, command a list of strings, "
        "ask true or false, timeout_s and output_bytes are numbers");
  }
  if (tool.name.empty()) refuse("it has no name");
  if (tool.command.empty()) refuse("it has no command: a list of the program and its arguments");
  if (!tool.parameters.is_object()) refuse("parameters is a JSON schema of an object");
  if (!(tool.limits.timeout_s > 0 && tool.limits.timeout_s < 1e6)) refuse("timeout_s is no time");
  return tool;
}

}  // namespace

void ToolBox::set_shell(bool on) {
  std::erase_if(tools_, [](const Tool& tool) { return tool.name == kShell; });
  if (on) tools_.insert(tools_.begin(), shell_tool());
}

bool ToolBox::has_shell() const { return !tools_.empty() && tools_[0].name == kShell; }

void ToolBox::load(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) throw_error(ErrorCode::kNotFound, "{}: cannot read the tools", path);
  const std::string text{std::istreambuf_iterator<char>(file), {}};
  const Json list = Json::parse(text, nullptr, false);
  if (!list.is_array()) {
    throw_error(ErrorCode::kCorrupt, "{}: the tools are no JSON list of objects", path);
  }
  for (size_t i = 0; i < list.size(); ++i) {
    Tool tool = parse_tool(list[i], fmt::format("{}: tool {}", path, i + 1));
    const auto same = [&](const Tool& other) { return other.name == tool.name; };
    if (tool.name == kShell || std::any_of(tools_.begin(), tools_.end(), same)) {
      throw_error(ErrorCode::kCorrupt, "{}: tool {}: the name {} is taken", path, i + 1, tool.name);
    }
    tools_.push_back(std::move(tool));
  }
}

Json ToolBox::declarations() const {
  Json list = Json::array();
  for (const Tool& tool : tools_) {
    list.push_back({{"type", "function"},
                    {"function",
                     {{"name", tool.name},
                      {"description", tool.description},
                      {"parameters", tool.parameters}}}});
  }
  return list;
}

std::string ToolBox::call(const std::string& name, const std::string& arguments, const Ask& ask,
                          const std::function<bool()>& stop) const {
  const auto tool = std::find_if(tools_.begin(), tools_.end(),
                                 [&](const Tool& candidate) { return candidate.name == name; });
  if (tool == tools_.end()) return fmt::format("[there is no tool named {}]", name);
  const Json values = Json::parse(arguments.empty() ? "{}" : arguments, nullptr, false);
  if (!values.is_object()) return "[the arguments are no JSON object]";
  for (const Json& needed : tool->parameters.value("required", Json::array())) {
    if (needed.is_string() && !values.contains(needed.get<std::string>())) {
      return fmt::format("[the argument {} is missing]", needed.get<std::string>());
    }
  }
  std::vector<std::string> words;
  for (const std::string& word : tool->command) {
    words.push_back(fill_in(word, values, tool->parameters));
  }
  if (tool->ask && !ask(shown(*tool, words))) return "[the user did not allow this command]";
  try {
    const std::string input = tool->name == kShell ? "" : values.dump() + "\n";
    return run_command(words, input, tool->limits, stop).text(tool->limits);
  } catch (const Error& error) {
    return fmt::format("[{}]", error.what());
  }
}

}  // namespace flashmoe::chat
