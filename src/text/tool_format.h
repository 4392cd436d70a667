// How a model writes tool calls, and the tools of a request. Owns no parsing of answers (that is
// tool_parser.h) and no grammar of calls (tool_grammar.h).
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "text/chat_template.h"

namespace flashmoe::text {

inline constexpr std::string_view kCallOpen = "<tool_call>";
inline constexpr std::string_view kCallClose = "</tool_call>";

enum class ToolFormat {
  kNone,  // the template writes no calls, or in a form that is not known
  // <tool_call>\n{"name": "f", "arguments": {…}}\n</tool_call>: Hermes, Qwen3
  kJson,
  // <tool_call>\n<function=f>\n<parameter=p>\nvalue\n</parameter>\n</function>\n</tool_call>:
  // Qwen3-Coder, Qwen3.5. A string is written as it is, other values as JSON.
  kXml,
};

const char* tool_format_name(ToolFormat format);  // "none", "json", "xml"

// By what the template makes of a conversation with a call.
ToolFormat detect_tool_format(const ModelChatTemplate& chat_template);

struct Tool {
  std::string name;
  nlohmann::ordered_json parameters;  // the schema of its arguments, an object
  bool strict = false;                // arguments must be held to all of the schema, or refused

  // The schema of one argument; null if none is given for it.
  nlohmann::ordered_json parameter(std::string_view name) const;
};

// The tools of a request: [{"type": "function", "function": {"name", "parameters"}}, …], or the
// functions themselves. Throws Error kUsage naming what is wrong: a name that is missing, given
// twice or not [A-Za-z0-9_.-]{1,128}, parameters that are no schema of an object.
std::vector<Tool> read_tools(const nlohmann::ordered_json& tools);

// JSON types that a schema allows, following $ref within `root`, anyOf, oneOf, allOf, enum and
// const.
struct JsonTypes {
  bool string = false, number = false, boolean = false, null = false, object = false, array = false;
  bool only_string() const { return string && !number && !boolean && !null && !object && !array; }
  bool allows(const nlohmann::ordered_json& value) const;
};
JsonTypes json_types(const nlohmann::ordered_json& schema, const nlohmann::ordered_json& root);

}  // namespace flashmoe::text
