#include "text/tool_format.h"

#include <algorithm>
#include <set>
#include <utility>

#include "base/error.h"

namespace flashmoe::text {

namespace {

using Json = nlohmann::ordered_json;

constexpr size_t kMaxNameChars = 128;
constexpr int kMaxRefs = 64;  // followed to tell the types of one schema

bool is_name(std::string_view name) {
  const auto good = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
           c == '.' || c == '-';
  };
  return !name.empty() && name.size() <= kMaxNameChars &&
         std::all_of(name.begin(), name.end(), good);
}

JsonTypes all_types() { return {true, true, true, true, true, true}; }

void add_type(std::string_view name, JsonTypes* types) {
  if (name == "string") types->string = true;
  if (name == "number" || name == "integer") types->number = true;
  if (name == "boolean") types->boolean = true;
  if (name == "null") types->null = true;
  if (name == "object") types->object = true;
  if (name == "array") types->array = true;
}

void add_value(const Json& value, JsonTypes* types) {
  add_type(value.is_number() ? "number" : value.type_name(), types);
}

JsonTypes both(const JsonTypes& a, const JsonTypes& b) {
  return {a.string && b.string, a.number && b.number, a.boolean && b.boolean,
          a.null && b.null,     a.object && b.object, a.array && b.array};
}

JsonTypes either(const JsonTypes& a, const JsonTypes& b) {
  return {a.string || b.string, a.number || b.number, a.boolean || b.boolean,
          a.null || b.null,     a.object || b.object, a.array || b.array};
}

JsonTypes find_types(const Json& schema, const Json& root, int refs) {
  JsonTypes types = all_types();
  if (!schema.is_object() || refs > kMaxRefs) return types;
  if (const auto type = schema.find("type"); type != schema.end()) {
    JsonTypes named;
    for (const Json& name : type->is_array() ? *type : Json::array({*type})) {
      if (name.is_string()) add_type(name.get_ref<const std::string&>(), &named);
    }
    types = both(types, named);
  }
  if (const auto values = schema.find("enum"); values != schema.end() && values->is_array()) {
    JsonTypes listed;
    for (const Json& value : *values) add_value(value, &listed);
    types = both(types, listed);
  }
  if (const auto value = schema.find("const"); value != schema.end()) {
    JsonTypes one;
    add_value(*value, &one);
    types = both(types, one);
  }
  if (const auto ref = schema.find("$ref"); ref != schema.end() && ref->is_string()) {
    const std::string& path = ref->get_ref<const std::string&>();
    if (path.starts_with('#')) {
      try {
        types =
            both(types, find_types(root.at(Json::json_pointer(path.substr(1))), root, refs + 1));
      } catch (const Json::exception&) {
        // A reference to nothing allows anything; the schema's own reader refuses it.
      }
    }
  }
  for (const char* key : {"anyOf", "oneOf"}) {
    const auto parts = schema.find(key);
    if (parts == schema.end() || !parts->is_array()) continue;
    JsonTypes any;
    for (const Json& part : *parts) any = either(any, find_types(part, root, refs + 1));
    types = both(types, any);
  }
  if (const auto parts = schema.find("allOf"); parts != schema.end() && parts->is_array()) {
    for (const Json& part : *parts) types = both(types, find_types(part, root, refs + 1));
  }
  return types;
}

}  // namespace

const char* tool_format_name(ToolFormat format) {
  switch (format) {
    case ToolFormat::kNone:
      break;
    case ToolFormat::kJson:
      return "json";
    case ToolFormat::kXml:
      return "xml";
  }
  return "none";
}

ToolFormat detect_tool_format(const ModelChatTemplate& chat_template) {
  const Json tool = {
      {"type", "function"},
      {"function",
       {{"name", "probe"},
        {"description", "d"},
        {"parameters", {{"type", "object"}, {"properties", {{"key", {{"type", "string"}}}}}}}}}};
  const Json call = {{"id", "call_1"},
                     {"type", "function"},
                     {"function", {{"name", "probe"}, {"arguments", {{"key", "value"}}}}}};
  Json variables;
  variables["messages"] =
      Json::array({{{"role", "user"}, {"content", "q"}},
                   {{"role", "assistant"}, {"content", ""}, {"tool_calls", Json::array({call})}},
                   {{"role", "tool"}, {"content", "r"}}});
  variables["tools"] = Json::array({tool});
  std::string text;
  try {
    text = chat_template.render(variables).text;
  } catch (const Error&) {
    return ToolFormat::kNone;  // it takes no calls, or not in this form
  }
  const std::string open = std::string(kCallOpen) + "\n";
  if (text.find(open + "<function=probe>\n<parameter=key>\nvalue\n</parameter>") !=
      std::string::npos) {
    return ToolFormat::kXml;
  }
  if (text.find(open + R"({"name": "probe", "arguments": {"key": "value"}})") !=
      std::string::npos) {
    return ToolFormat::kJson;
  }
  return ToolFormat::kNone;
}

Json Tool::parameter(std::string_view name) const {
  const auto properties = parameters.find("properties");
  if (properties == parameters.end() || !properties->is_object()) return nullptr;
  const auto found = properties->find(std::string(name));
  return found == properties->end() ? Json(nullptr) : *found;
}

std::vector<Tool> read_tools(const Json& tools) {
  if (!tools.is_array()) throw Error(ErrorCode::kUsage, "tools: not a list");
  std::vector<Tool> read;
  std::set<std::string> names;
  for (size_t i = 0; i < tools.size(); ++i) {
    const Json* function = &tools[i];
    if (function->is_object() && function->contains("function"))
      function = &(*function)["function"];
    if (!function->is_object() || !function->contains("name") || !(*function)["name"].is_string()) {
      throw_error(ErrorCode::kUsage, "tools[{}]: not a function with a name", i);
    }
    Tool tool;
    tool.name = (*function)["name"].get<std::string>();
    if (!is_name(tool.name)) {
      throw_error(ErrorCode::kUsage, "tools[{}]: the name '{}' is not 1 to {} of A-Z a-z 0-9 _ . -",
                  i, tool.name, kMaxNameChars);
    }
    if (!names.insert(tool.name).second) {
      throw_error(ErrorCode::kUsage, "tools[{}]: a second tool named '{}'", i, tool.name);
    }
    const auto parameters = function->find("parameters");
    if (parameters == function->end() || parameters->is_null() || parameters->empty()) {
      tool.parameters = Json{{"type", "object"}, {"properties", Json::object()}};
    } else if (parameters->is_object()) {
      tool.parameters = *parameters;
    } else {
      throw_error(ErrorCode::kUsage, "tools[{}].parameters: not a schema", i);
    }
    if (!json_types(tool.parameters, tool.parameters).object) {
      throw_error(ErrorCode::kUsage, "tools[{}].parameters: must describe an object", i);
    }
    const auto strict = function->find("strict");
    tool.strict = strict != function->end() && strict->is_boolean() && strict->get<bool>();
    read.push_back(std::move(tool));
  }
  return read;
}

bool JsonTypes::allows(const Json& value) const {
  if (value.is_string()) return string;
  if (value.is_number()) return number;
  if (value.is_boolean()) return boolean;
  if (value.is_null()) return null;
  if (value.is_object()) return object;
  return value.is_array() && array;
}

JsonTypes json_types(const Json& schema, const Json& root) { return find_types(schema, root, 0); }

}  // namespace flashmoe::text
