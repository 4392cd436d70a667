#include "text/schema/reader.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>
#include <set>
#include <string_view>
#include <utility>

#include "base/error.h"

namespace flashmoe::text::schema {

namespace {

constexpr size_t kMaxNodes = 200'000;  // of the document
constexpr int kMaxDepth = 128;
constexpr size_t kMaxAlternatives = 256;  // when alternatives are multiplied out

// What only describes, or only matters where a reference names it.
const std::set<std::string_view> kDescriptions = {
    "title",       "description",     "default",          "examples",
    "example",     "$comment",        "$schema",          "$id",
    "deprecated",  "readOnly",        "writeOnly",        "$defs",
    "definitions", "contentEncoding", "contentMediaType", "contentSchema"};

// Keywords, and the type they speak of.
const std::map<std::string_view, std::string_view> kKeywords = {
    {"type", ""},
    {"enum", ""},
    {"const", ""},
    {"anyOf", ""},
    {"oneOf", ""},
    {"allOf", ""},
    {"$ref", ""},
    {"properties", "object"},
    {"required", "object"},
    {"additionalProperties", "object"},
    {"minProperties", "object"},
    {"maxProperties", "object"},
    {"items", "array"},
    {"prefixItems", "array"},
    {"minItems", "array"},
    {"maxItems", "array"},
    {"minLength", "string"},
    {"maxLength", "string"},
    {"pattern", "string"},
    {"format", "string"},
    {"minimum", "number"},
    {"maximum", "number"},
    {"exclusiveMinimum", "number"},
    {"exclusiveMaximum", "number"},
    {"multipleOf", "number"},
};

const std::vector<std::string> kTypes = {"object",  "array",   "string", "number",
                                         "integer", "boolean", "null"};

size_t count_nodes(const Json& value, int depth) {
  if (depth > kMaxDepth) refuse("$", fmt::format("nested deeper than {} levels", kMaxDepth));
  size_t nodes = 1;
  if (value.is_structured()) {
    for (const Json& part : value) nodes += count_nodes(part, depth + 1);
  }
  return nodes;
}

bool is_true(const Json& schema) {
  return (schema.is_boolean() && schema.get<bool>()) || (schema.is_object() && schema.empty());
}

// Checks what a keyword is given, where that matters later.
void check_value(const std::string& key, const Json& value, const std::string& path) {
  const auto require = [&](bool good, const char* what) {
    if (!good) refuse(path + "." + key, fmt::format("must be {}", what));
  };
  const std::set<std::string_view> counts = {"minProperties", "maxProperties", "minItems",
                                             "maxItems",      "minLength",     "maxLength"};
  const std::set<std::string_view> numbers = {"minimum", "maximum", "exclusiveMinimum",
                                              "exclusiveMaximum", "multipleOf"};
  if (counts.contains(key)) {
    require(value.is_number() && value.get<double>() >= 0 && value.get<double>() <= 1e15 &&
                value.get<double>() == std::floor(value.get<double>()),
            "a number of things, 0 or more");
  } else if (numbers.contains(key)) {
    require(value.is_number() && std::isfinite(value.get<double>()), "a number");
    require(key != "multipleOf" || value.get<double>() > 0, "above 0");
  } else if (key == "properties") {
    require(value.is_object(), "an object of schemas");
  } else if (key == "required") {
    require(value.is_array() && std::all_of(value.begin(), value.end(),
                                            [](const Json& name) { return name.is_string(); }),
            "a list of names");
  } else if (key == "enum" || key == "prefixItems") {
    require(value.is_array(), "a list");
  } else if (key == "anyOf" || key == "oneOf" || key == "allOf") {
    require(value.is_array() && !value.empty(), "a list of schemas, not empty");
  } else if (key == "pattern" || key == "format" || key == "$ref") {
    require(value.is_string(), "a string");
  } else if (key == "type") {
    const Json list = value.is_array() ? value : Json::array({value});
    for (const Json& name : list) {
      require(name.is_string() &&
                  std::find(kTypes.begin(), kTypes.end(), name.get<std::string>()) != kTypes.end(),
              "object, array, string, number, integer, boolean or null, or a list of them");
    }
  }
}

Json all_of(const Json& a, const Json& b) {
  if (a == Json(false) || b == Json(false)) return false;
  if (is_true(a) || a == b) return b;
  if (is_true(b)) return a;
  return Json{{"allOf", Json::array({a, b})}};
}

std::vector<std::string> type_list(const Json& type) {
  if (type.is_string()) return {type.get<std::string>()};
  return type.get<std::vector<std::string>>();
}

// Keyword by keyword, where each has its own rule; object keywords apart.
Json both_values(const std::string& key, const Json& a, const Json& b, const std::string& path) {
  if (a == b) return a;
  if (key.starts_with("min") || key == "exclusiveMinimum") return std::max(a, b);
  if (key.starts_with("max") || key == "exclusiveMaximum") return std::min(a, b);
  if (key == "type") {
    Json common = Json::array();
    for (const std::string& x : type_list(a)) {
      for (const std::string& y : type_list(b)) {
        if (x == y || (x == "integer" && y == "number")) common.push_back(x);
        if (x == "number" && y == "integer") common.push_back(y);
      }
    }
    return common;
  }
  if (key == "enum") {
    Json common = Json::array();
    for (const Json& value : a) {
      if (std::find(b.begin(), b.end(), value) != b.end()) common.push_back(value);
    }
    return common;
  }
  if (key == "items") return all_of(a, b);
  if (key == "multipleOf" && a.is_number_integer() && b.is_number_integer()) {
    const auto x = a.get<int64_t>(), y = b.get<int64_t>();
    if (x < (1 << 20) && y < (1 << 20)) return std::lcm(x, y);
  }
  if (key == "anyOf") {
    if (a.size() * b.size() > kMaxAlternatives) refuse(path, "too many alternatives at once");
    Json product = Json::array();
    for (const Json& x : a) {
      for (const Json& y : b) product.push_back(all_of(x, y));
    }
    return product;
  }
  refuse(path, fmt::format("two different '{}' that must hold at once are not supported", key));
}

// Properties of both, each held to what either schema says of it.
void both_properties(const Json& a, const Json& b, Json* merged) {
  const auto part = [](const Json& schema, const char* key) {
    const auto found = schema.find(key);
    return found == schema.end() ? Json() : *found;
  };
  const Json in_a = part(a, "properties"), in_b = part(b, "properties");
  const Json more_a = part(a, "additionalProperties"), more_b = part(b, "additionalProperties");
  const auto named = [](const Json& properties, const Json& more, const std::string& name) {
    if (properties.is_object() && properties.contains(name)) return properties[name];
    return more.is_null() ? Json(true) : more;
  };
  Json properties = Json::object();
  for (const Json* each : {&in_a, &in_b}) {
    if (!each->is_object()) continue;
    for (const auto& item : each->items()) {
      const std::string& name = item.key();
      properties[name] = all_of(named(in_a, more_a, name), named(in_b, more_b, name));
    }
  }
  if (!in_a.is_null() || !in_b.is_null()) (*merged)["properties"] = properties;
  if (!more_a.is_null() || !more_b.is_null()) {
    (*merged)["additionalProperties"] =
        all_of(more_a.is_null() ? Json(true) : more_a, more_b.is_null() ? Json(true) : more_b);
  }
  std::vector<std::string> required;
  for (const Json* each : {&a, &b}) {
    if (!each->contains("required")) continue;
    for (const Json& json : (*each)["required"]) {
      const std::string name = json.get<std::string>();
      if (std::find(required.begin(), required.end(), name) == required.end()) {
        required.push_back(name);
      }
    }
  }
  if (!required.empty()) (*merged)["required"] = required;
}

}  // namespace

void refuse(const std::string& path, const std::string& why) {
  throw_error(ErrorCode::kUsage, "the JSON schema at {}: {}", path, why);
}

bool has_type(const Json& value, const std::string& type) {
  if (type == "integer") {
    return value.is_number_integer() ||
           (value.is_number_float() && value.get<double>() == std::floor(value.get<double>()));
  }
  if (type == "number") return value.is_number();
  return value.type_name() == type;
}

std::vector<std::string> types_of(const Json& relevant) {
  if (relevant.contains("type")) {
    std::vector<std::string> types = type_list(relevant["type"]);
    const auto has = [&](const char* type) {
      return std::find(types.begin(), types.end(), type) != types.end();
    };
    if (has("number")) std::erase(types, "integer");
    return types;
  }
  std::vector<std::string> types;
  for (const auto& item : relevant.items()) {
    const std::string type(kKeywords.find(item.key())->second);
    if (!type.empty() && std::find(types.begin(), types.end(), type) == types.end()) {
      types.push_back(type);
    }
  }
  if (types.empty()) types = {"object", "array", "string", "number", "boolean", "null"};
  return types;
}

SchemaReader::SchemaReader(const Json& document) {
  if (count_nodes(document, 0) > kMaxNodes) {
    refuse("$", fmt::format("larger than {} values", kMaxNodes));
  }
  document_ = document;
}

Json SchemaReader::relevant(const Json& schema, const std::string& path) const {
  if (schema.is_boolean()) {
    return schema.get<bool>() ? Json::object() : Json{{"enum", Json::array()}};
  }
  if (!schema.is_object()) refuse(path, "a schema must be an object, true or false");
  Json kept = Json::object();
  for (const auto& item : schema.items()) {
    const std::string& key = item.key();
    if (kDescriptions.contains(key) || key.starts_with("x-")) continue;
    // What allows everything says nothing.
    if (key == "uniqueItems" && item.value() == Json(false)) continue;
    if (key == "nullable" && item.value() == Json(false)) continue;
    if (key == "patternProperties" && item.value() == Json::object()) continue;
    if (!kKeywords.contains(key)) {
      refuse(path, fmt::format("the keyword '{}' is not supported", key));
    }
    check_value(key, item.value(), path);
    kept[key] = item.value();
  }
  // Before 2020, a list of items was what prefixItems is now.
  if (kept.contains("items") && kept["items"].is_array()) {
    kept["prefixItems"] = kept["items"];
    kept.erase("items");
  }
  if (kept.contains("const")) {
    const Json value = kept["const"];
    kept.erase("const");
    const bool is_listed =
        !kept.contains("enum") ||
        std::find(kept["enum"].begin(), kept["enum"].end(), value) != kept["enum"].end();
    kept["enum"] = is_listed ? Json::array({value}) : Json::array();
  }
  return kept;
}

const Json& SchemaReader::resolve(const Json& ref, const std::string& path) const {
  const std::string& text = ref.get_ref<const std::string&>();
  if (!text.starts_with('#') || (text.size() > 1 && text[1] != '/')) {
    refuse(path, fmt::format("the reference '{}' does not point into this schema; '#/$defs/name' "
                             "would",
                             text));
  }
  // JSON pointers in references are percent-encoded.
  std::string pointer;
  for (size_t i = 1; i < text.size(); ++i) {
    unsigned value = 0;
    if (text[i] == '%' && i + 2 < text.size() &&
        std::sscanf(text.substr(i + 1, 2).c_str(), "%2x", &value) == 1) {
      pointer += static_cast<char>(value);
      i += 2;
    } else {
      pointer += text[i];
    }
  }
  try {
    return document_.at(Json::json_pointer(pointer));
  } catch (const Json::exception&) {
    refuse(path, fmt::format("the reference '{}' points to nothing", text));
  }
}

Json SchemaReader::flat(const Json& schema, const std::string& path, int depth) const {
  if (depth > kMaxDepth) refuse(path, "references or allOf lead back to this schema");
  Json result = schema;
  result.erase("$ref");
  result.erase("allOf");
  if (schema.contains("$ref")) {
    const Json target = relevant(resolve(schema["$ref"], path), schema["$ref"].get<std::string>());
    result = both(flat(target, path, depth + 1), result, path);
  }
  if (schema.contains("allOf")) {
    for (size_t i = 0; i < schema["allOf"].size(); ++i) {
      const std::string part = fmt::format("{}.allOf[{}]", path, i);
      result = both(result, flat(relevant(schema["allOf"][i], part), part, depth + 1), path);
    }
  }
  return result;
}

Json SchemaReader::both(const Json& a, const Json& b, const std::string& path) const {
  if (a.empty()) return b;
  if (b.empty()) return a;
  if (a.contains("prefixItems") != b.contains("prefixItems") &&
      (a.contains("items") || b.contains("items"))) {
    refuse(path, "'prefixItems' and 'items' of two schemas at once are not supported");
  }
  Json merged = a;
  for (const auto& item : b.items()) {
    const std::string& key = item.key();
    if (!merged.contains(key)) {
      merged[key] = item.value();
    } else if (key != "properties" && key != "additionalProperties" && key != "required") {
      merged[key] = both_values(key, a[key], item.value(), path);
    }
  }
  both_properties(a, b, &merged);
  return merged;
}

}  // namespace flashmoe::text::schema
