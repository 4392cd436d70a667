#include "text/schema/builder.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>
#include <utility>

#include "text/schema/formats.h"
#include "text/tool_format.h"
#include "text/utf8.h"

namespace flashmoe::text::schema {

namespace {

using Expr = Grammar::Expr;

constexpr int kMaxDepth = 200;        // of schemas in schemas, references followed
constexpr size_t kMaxRules = 20'000;  // of schemas
constexpr int kAnyDepth = 24;         // of values that a schema leaves open
constexpr size_t kMaxAlternatives = 1000;

bool contains(const std::vector<std::string>& list, std::string_view name) {
  return std::find(list.begin(), list.end(), name) != list.end();
}

int64_t count_of(const Json& schema, const char* key, int64_t otherwise) {
  const auto found = schema.find(key);
  return found == schema.end() ? otherwise : static_cast<int64_t>(found->get<double>());
}

int64_t characters(const std::string& text) {
  return std::count_if(text.begin(), text.end(), [](char c) { return (c & 0xc0) != 0x80; });
}

// Whether a listed value keeps to the schema's limits on values of its type.
bool keeps_limits(const Json& value, const Json& schema) {
  const auto at = [&](const char* key, auto holds) {
    const auto found = schema.find(key);
    return found == schema.end() || holds(found->get<double>());
  };
  if (value.is_string()) {
    const auto length = static_cast<double>(characters(value.get<std::string>()));
    return at("minLength", [&](double n) { return length >= n; }) &&
           at("maxLength", [&](double n) { return length <= n; });
  }
  if (value.is_number()) {
    const auto v = value.get<double>();
    return at("minimum", [&](double n) { return v >= n; }) &&
           at("maximum", [&](double n) { return v <= n; }) &&
           at("exclusiveMinimum", [&](double n) { return v > n; }) &&
           at("exclusiveMaximum", [&](double n) { return v < n; });
  }
  return true;
}

}  // namespace

Expr SchemaBuilder::as_rule(const std::string& name, Expr body) {
  const Grammar::Rule rule = g_.add_rule(name);
  g_.define(rule, body);
  return g_.call(rule);
}

Expr SchemaBuilder::expr(const Json& schema, const std::string& path, StringForm form) {
  Json relevant = reader_.relevant(schema, path);
  if (relevant.size() == 1 && relevant.contains("$ref") && form == StringForm::kJson) {
    // A name of its own for what is referred to, so that it may refer to itself.
    const std::string name = relevant["$ref"].get<std::string>();
    const Json& target = reader_.resolve(relevant["$ref"], path);
    const auto [found, added] = rules_.try_emplace(name, -1);
    if (added) {
      found->second = g_.add_rule(name);
      const Grammar::Rule rule = found->second;
      g_.define(rule, expr(target, name, form));
      return g_.call(rule);
    }
    return g_.call(found->second);
  }
  if (depth_ > kMaxDepth) refuse(path, "nested too deeply");
  relevant = reader_.flat(relevant, path);
  if (relevant.empty() && form == StringForm::kJson) return any_value(0);
  const std::vector<std::string> types = types_of(relevant);
  const bool is_large = contains(types, "object") || contains(types, "array") ||
                        relevant.contains("anyOf") || relevant.contains("oneOf");
  if (!is_large || form == StringForm::kRaw) return plain(relevant, path, form);
  // The same schema met again, perhaps within itself, is the same rule.
  const std::string text = relevant.dump(-1, ' ', false, Json::error_handler_t::replace);
  const auto [found, added] = rules_.try_emplace(text, -1);
  if (!added) return g_.call(found->second);
  if (rules_.size() > kMaxRules) refuse(path, "too many different schemas");
  const Grammar::Rule rule = g_.add_rule(path);
  found->second = rule;
  ++depth_;
  g_.define(rule, plain(relevant, path, form));
  --depth_;
  return g_.call(rule);
}

// A flat schema.
Expr SchemaBuilder::plain(const Json& schema, const std::string& path, StringForm form) {
  if (schema.contains("anyOf") || schema.contains("oneOf")) return alternatives(schema, path, form);
  if (schema.contains("enum")) return listed(schema, path, form);
  std::vector<Expr> ways;
  for (const std::string& type : types_of(schema)) {
    if (type == "object") ways.push_back(object(schema, path));
    if (type == "array") ways.push_back(array(schema, path));
    if (type == "string") ways.push_back(string(schema, path, form));
    if (type == "number" || type == "integer") {
      ways.push_back(number(schema, path, type == "integer"));
    }
    if (type == "boolean") {
      ways.push_back(word("true", "True", form));
      ways.push_back(word("false", "False", form));
    }
    if (type == "null") ways.push_back(word("null", "None", form));
  }
  return g_.choice(std::move(ways));
}

Expr SchemaBuilder::word(std::string_view json, std::string_view python, StringForm form) {
  if (form == StringForm::kJson) return g_.literal(json);
  return g_.choice({g_.literal(json), g_.literal(python)});
}

Expr SchemaBuilder::alternatives(const Json& schema, const std::string& path, StringForm form) {
  // What stands beside holds for every alternative.
  Json beside = schema;
  beside.erase("anyOf");
  beside.erase("oneOf");
  const auto merged = [&](const char* key) {
    std::vector<Json> flat;
    for (size_t i = 0; schema.contains(key) && i < schema[key].size(); ++i) {
      const std::string part = fmt::format("{}.{}[{}]", path, key, i);
      flat.push_back(reader_.flat(reader_.relevant(schema[key][i], part), part));
    }
    return flat;
  };
  const std::vector<Json> any = merged("anyOf"), one = merged("oneOf");
  if (any.size() * one.size() > kMaxAlternatives) refuse(path, "too many alternatives");
  if (!one.empty()) {
    Json checked = Json::array();
    for (const Json& part : one) checked.push_back(reader_.both(beside, part, path));
    check_disjoint(checked, path);
  }
  std::vector<Expr> ways;
  const auto add = [&](const Json& part, const char* key, size_t index) {
    ways.push_back(
        expr(reader_.both(beside, part, path), fmt::format("{}.{}[{}]", path, key, index), form));
  };
  if (any.empty() || one.empty()) {
    const bool is_any = one.empty();
    const std::vector<Json>& parts = is_any ? any : one;
    const char* const key = is_any ? "anyOf" : "oneOf";
    for (size_t i = 0; i < parts.size(); ++i) {
      // A reference alone keeps its rule.
      const Json& given = schema[key][i];
      if (beside.empty() && given.is_object() && given.contains("$ref")) {
        ways.push_back(expr(given, fmt::format("{}.{}[{}]", path, key, i), form));
      } else {
        add(parts[i], key, i);
      }
    }
  } else {
    for (size_t i = 0; i < one.size(); ++i) {
      for (const Json& part : any) add(reader_.both(one[i], part, path), "oneOf", i);
    }
  }
  return g_.choice(std::move(ways));
}

// Exactly one alternative may match. It is enough that any two differ in type, or in the values of
// a property that both require.
void SchemaBuilder::check_disjoint(const Json& alternatives, const std::string& path) const {
  const auto differ = [](const Json& a, const Json& b) {
    return std::none_of(a.begin(), a.end(), [&](const Json& value) {
      return std::find(b.begin(), b.end(), value) != b.end();
    });
  };
  const auto tagged_apart = [&](const Json& a, const Json& b) {
    if (!a.contains("properties") || !b.contains("properties")) return false;
    const auto values = [&](const Json& schema, const std::string& name) {
      const Json& required = schema.value("required", Json::array());
      if (std::find(required.begin(), required.end(), name) == required.end()) return Json();
      const Json property = reader_.flat(reader_.relevant(schema["properties"][name], path), path);
      return property.value("enum", Json());
    };
    for (const auto& item : a["properties"].items()) {
      if (!b["properties"].contains(item.key())) continue;
      const Json in_a = values(a, item.key()), in_b = values(b, item.key());
      if (in_a.is_array() && in_b.is_array() && differ(in_a, in_b)) return true;
    }
    return false;
  };
  for (size_t i = 0; i < alternatives.size(); ++i) {
    for (size_t j = 0; j < i; ++j) {
      const Json &a = alternatives[i], &b = alternatives[j];
      // Types with keywords of their own count as named: other types are not written.
      const JsonTypes x = json_types(a, reader_.document()), y = json_types(b, reader_.document());
      const bool same_type = (x.string && y.string) || (x.number && y.number) ||
                             (x.boolean && y.boolean) || (x.null && y.null) ||
                             (x.object && y.object) || (x.array && y.array);
      if (!same_type ||
          (a.contains("enum") && b.contains("enum") && differ(a["enum"], b["enum"]))) {
        continue;
      }
      const bool only_objects = x.object && y.object && !(x.string && y.string) &&
                                !(x.number && y.number) && !(x.boolean && y.boolean) &&
                                !(x.null && y.null) && !(x.array && y.array);
      if (only_objects && tagged_apart(a, b)) continue;
      refuse(path + ".oneOf",
             fmt::format("alternatives {} and {} may both match, which oneOf forbids; give them "
                         "different types, or a required property with different 'const' values, "
                         "or use anyOf",
                         j, i));
    }
  }
}

Expr SchemaBuilder::listed(const Json& schema, const std::string& path, StringForm form) {
  for (const char* key :
       {"pattern", "format", "multipleOf", "properties", "required", "items", "prefixItems",
        "additionalProperties", "minProperties", "maxProperties", "minItems", "maxItems"}) {
    if (schema.contains(key)) {
      refuse(path, fmt::format("'enum' or 'const' together with '{}' is not supported", key));
    }
  }
  std::vector<Expr> ways;
  const bool any_type = !schema.contains("type");
  const std::vector<std::string> types = types_of(schema);  // perhaps none: no type is left
  for (const Json& value : schema["enum"]) {
    const bool is_typed =
        any_type || std::any_of(types.begin(), types.end(),
                                [&](const auto& type) { return has_type(value, type); });
    if (!is_typed || !keeps_limits(value, schema)) continue;
    if (form == StringForm::kRaw && value.is_string()) {
      ways.push_back(g_.literal(value.get<std::string>()));
    } else if (form == StringForm::kRaw && value.is_boolean()) {
      ways.push_back(value.get<bool>() ? word("true", "True", form) : word("false", "False", form));
    } else if (form == StringForm::kRaw && value.is_null()) {
      ways.push_back(word("null", "None", form));
    } else {
      ways.push_back(g_.literal(value.dump()));
    }
  }
  return g_.choice(std::move(ways));
}

Expr SchemaBuilder::string(const Json& schema, const std::string& path, StringForm form) {
  const bool has_pattern = schema.contains("pattern"), has_format = schema.contains("format");
  const bool has_length = schema.contains("minLength") || schema.contains("maxLength");
  if (!has_pattern && !has_format && !has_length) {
    if (form == StringForm::kRaw) return g_.text_without("</parameter>");
    if (string_ < 0) {
      string_ = g_.add_rule("string");
      g_.define(string_, g_.sequence({g_.literal("\""), string_expr(any_string(), form, &g_),
                                      g_.literal("\"")}));
    }
    return g_.call(string_);
  }
  if (has_pattern && has_format) {
    refuse(path, "'pattern' together with 'format' is not supported");
  }
  Regex regex = any_string();
  if (has_pattern) {
    regex = parse_regex(schema["pattern"].get<std::string>(), path + ".pattern");
  } else if (has_format) {
    const std::string format = schema["format"].get<std::string>();
    const char* const pattern = format_pattern(format);
    if (pattern == nullptr) {
      refuse(path,
             fmt::format("the format '{}' is not supported; known are {}", format, format_names()));
    }
    regex = parse_regex(pattern, path + ".format");
  }
  const int64_t min = count_of(schema, "minLength", 0);
  const int64_t max = count_of(schema, "maxLength", Regex::kNoLimit);
  if (!limit_length(&regex, min, max)) {
    refuse(path, has_pattern || has_format
                     ? "'minLength' or 'maxLength' do not go with this pattern or format"
                     : "'minLength' is above 'maxLength'");
  }
  const Expr text = string_expr(regex, form, &g_);
  if (form == StringForm::kRaw) return text;
  return g_.sequence({g_.literal("\""), text, g_.literal("\"")});
}

Expr SchemaBuilder::number(const Json& schema, const std::string& path, bool is_integer) {
  NumberLimits limits;
  const auto tighten = [&](const char* key, bool exclusive, bool is_min,
                           std::optional<NumberLimits::Limit>* limit) {
    const auto found = schema.find(key);
    if (found == schema.end()) return;
    const double value = found->get<double>();
    if (*limit) {
      const double other = (*limit)->value.get<double>();
      const bool is_tighter = value == other ? exclusive : is_min == (value > other);
      if (!is_tighter) return;
    }
    *limit = {*found, exclusive};
  };
  tighten("minimum", false, true, &limits.min);
  tighten("exclusiveMinimum", true, true, &limits.min);
  tighten("maximum", false, false, &limits.max);
  tighten("exclusiveMaximum", true, false, &limits.max);
  if (const auto multiple = schema.find("multipleOf"); multiple != schema.end()) {
    const double value = multiple->get<double>();
    if (value != static_cast<double>(static_cast<int64_t>(value)) || value > kMaxMultiple) {
      refuse(path,
             fmt::format("'multipleOf' is supported for whole numbers up to {}", kMaxMultiple));
    }
    limits.multiple_of = static_cast<int64_t>(value);
    is_integer = true;
  }
  return is_integer ? integer_expr(limits, &g_) : number_expr(limits, &g_);
}

Expr SchemaBuilder::key(const std::string& name) {
  return g_.sequence({g_.literal(Json(name).dump() + ":"), g_.optional(g_.literal(" "))});
}

// The rest of a key that has begun as names[from, to) do up to byte `at`, all in ASCII or not split
// within a character.
Expr SchemaBuilder::key_rest(const std::vector<std::string>& names, size_t from, size_t to,
                             size_t at) {
  const CodePointSet plain = complement(code_point_set({{0, 0x1f}, {'"', '"'}, {'\\', '\\'}}));
  std::vector<Expr> ways;
  std::vector<CodePointRange> taken;
  bool is_name = false;
  for (size_t i = from; i < to;) {
    if (names[i].size() == at) {
      is_name = true;
      ++i;
      continue;
    }
    const char32_t c = utf8_decode(names[i], at);
    size_t end = i + 1;
    while (end < to && utf8_decode(names[end], at) == c) ++end;
    taken.push_back({c, c});
    // A name with characters that need an escape cannot be met without one.
    if (!intersection(plain, {{c, c}}).empty()) {
      const size_t next = at + utf8_length(static_cast<unsigned char>(names[i][at]));
      ways.push_back(g_.sequence({g_.one_of({{c, c}}), key_rest(names, i, end, next)}));
    }
    i = end;
  }
  const Expr other = g_.one_of(intersection(plain, complement(code_point_set(taken))));
  ways.push_back(g_.sequence({other, g_.repeat(g_.one_of(plain), 0, Grammar::kNoLimit)}));
  if (!is_name) ways.push_back(g_.literal(""));
  return g_.choice(std::move(ways));
}

Expr SchemaBuilder::other_key(const std::vector<std::string>& names) {
  std::vector<std::string> sorted = names;
  std::sort(sorted.begin(), sorted.end());
  return g_.sequence({g_.literal("\""), key_rest(sorted, 0, sorted.size(), 0), g_.literal("\":"),
                      g_.optional(g_.literal(" "))});
}

Expr SchemaBuilder::items(const std::vector<Item>& list, Expr more, int64_t min, int64_t max,
                          bool not_empty) {
  const auto followers = [&](int64_t from, int64_t to) {
    return g_.repeat(g_.sequence({comma(), more}), from, to);
  };
  const auto less = [](int64_t n) { return n > 0 ? n - 1 : n; };  // kNoLimit stays
  size_t first_required = 0;
  while (first_required < list.size() && !list[first_required].required) ++first_required;
  // What may follow when something has come before; from the first required item on, in one piece.
  const auto after = [&](size_t from, size_t to) {
    std::vector<Expr> parts;
    for (size_t i = from; i < to; ++i) {
      const Expr part = g_.sequence({comma(), list[i].expr});
      parts.push_back(list[i].required ? part : g_.optional(part));
    }
    return parts;
  };
  std::vector<Expr> tail = after(first_required, list.size());
  if (max != 0) tail.push_back(followers(min, max));
  if (first_required == 0 && !list.empty()) {
    tail = after(1, list.size());
    if (max != 0) tail.push_back(followers(min, max));
    tail.insert(tail.begin(), list[0].expr);
    return g_.sequence(std::move(tail));
  }
  Expr rest = g_.sequence(std::move(tail));
  std::vector<Expr> beginnings;  // by what comes first
  if (first_required < list.size()) {
    tail = after(first_required + 1, list.size());
    if (max != 0) tail.push_back(followers(min, max));
    tail.insert(tail.begin(), list[first_required].expr);
    beginnings.push_back(g_.sequence(std::move(tail)));
  } else {
    if (max != 0) beginnings.push_back(g_.sequence({more, followers(less(min), less(max))}));
    if (min == 0 && !not_empty) beginnings.push_back(g_.literal(""));
  }
  for (size_t i = first_required; i-- > 0;) {
    rest = as_rule("rest", rest);
    beginnings.push_back(g_.sequence({list[i].expr, rest}));
    rest = g_.sequence({g_.optional(g_.sequence({comma(), list[i].expr})), rest});
  }
  std::reverse(beginnings.begin(), beginnings.end());
  return g_.choice(std::move(beginnings));
}

Expr SchemaBuilder::object(const Json& schema, const std::string& path) {
  const Json properties = schema.value("properties", Json::object());
  std::vector<std::string> required;
  for (const Json& name : schema.value("required", Json::array())) {
    required.push_back(name.get<std::string>());
  }
  const auto more = schema.find("additionalProperties");
  const bool allows_more = more == schema.end() ? properties.empty() : *more != Json(false);
  const Json more_schema = more == schema.end() || *more == Json(false) ? Json(true) : *more;

  std::vector<std::string> names;
  std::vector<Item> list;
  const auto add = [&](const std::string& name, const Json& property, bool is_required) {
    const std::string part = fmt::format("{}.properties.{}", path, name);
    names.push_back(name);
    list.push_back({g_.sequence({key(name), value(property, part)}), is_required});
  };
  for (const auto& item : properties.items()) {
    const bool is_required = contains(required, item.key());
    if (item.value() == Json(false) && !is_required) {
      names.push_back(item.key());  // never there, so not among the others either
      continue;
    }
    add(item.key(), item.value(), is_required);
  }
  for (const std::string& name : required) {
    if (contains(names, name)) continue;
    if (more != schema.end() && *more == Json(false)) {
      refuse(path, fmt::format("'{}' is required, but neither in 'properties' nor allowed as one "
                               "of 'additionalProperties'",
                               name));
    }
    add(name, more_schema, true);
  }

  const auto needed = static_cast<int64_t>(
      std::count_if(list.begin(), list.end(), [](const Item& item) { return item.required; }));
  const auto listed = static_cast<int64_t>(list.size());
  const int64_t min = count_of(schema, "minProperties", 0);
  int64_t most_more = allows_more ? Grammar::kNoLimit : 0;
  if (const int64_t max = count_of(schema, "maxProperties", -1); max >= 0) {
    if (max < listed) {
      refuse(path, "'maxProperties' below the number of 'properties' is not supported");
    }
    if (allows_more) most_more = max - listed;
  }
  // Keys that are not named may come twice, which counts once.
  if (min > needed && (min > 1 || (list.empty() && !allows_more))) {
    refuse(path, "'minProperties' is supported up to 1, or the number of required properties");
  }
  const Expr other =
      allows_more
          ? g_.sequence({other_key(names), value(more_schema, path + ".additionalProperties")})
          : g_.literal("");
  return g_.sequence(
      {g_.literal("{"), items(list, other, 0, most_more, min > needed), g_.literal("}")});
}

Expr SchemaBuilder::array(const Json& schema, const std::string& path) {
  const Json prefix = schema.value("prefixItems", Json::array());
  const auto more = schema.find("items");
  const int64_t min = count_of(schema, "minItems", 0);
  const int64_t max = count_of(schema, "maxItems", Grammar::kNoLimit);
  const auto listed = static_cast<int64_t>(prefix.size());
  // Without 'items', what follows prefixItems may be anything; nothing is written unless it must
  // be.
  const bool allows_more =
      more == schema.end() ? prefix.empty() || min > listed : *more != Json(false);
  if ((max >= 0 && min > max) || (min > listed && !allows_more)) {
    refuse(path, "no array has as many items as 'minItems' asks for");
  }
  std::vector<Item> list;
  for (int64_t i = 0; i < listed && (max < 0 || i < max); ++i) {
    const std::string part = fmt::format("{}.prefixItems[{}]", path, i);
    list.push_back({value(prefix[static_cast<size_t>(i)], part), i < min});
  }
  const auto count = static_cast<int64_t>(list.size());
  const int64_t most_more = !allows_more ? 0 : max < 0 ? Grammar::kNoLimit : max - count;
  const Expr other = most_more == 0
                         ? g_.literal("")
                         : value(more == schema.end() ? Json(true) : *more, path + ".items");
  // Unlike properties, items keep their places: each is there only if those before it are.
  Expr inside;
  const int64_t least_more = std::max<int64_t>(0, min - count);
  if (list.empty()) {
    inside = items({}, other, least_more, most_more, false);
  } else {
    Expr rest = most_more == 0 ? g_.literal("")
                               : g_.repeat(g_.sequence({comma(), other}), least_more, most_more);
    for (size_t i = list.size(); i-- > 0;) {
      std::vector<Expr> parts = {list[i].expr, rest};
      if (i > 0) parts.insert(parts.begin(), comma());
      rest = g_.sequence(std::move(parts));
      if (!list[i].required) rest = g_.optional(rest);
    }
    inside = rest;
  }
  return g_.sequence({g_.literal("["), inside, g_.literal("]")});
}

Expr SchemaBuilder::any_scalar() {
  return g_.choice({string(Json::object(), "$", StringForm::kJson), number_expr({}, &g_),
                    g_.literal("true"), g_.literal("false"), g_.literal("null")});
}

Expr SchemaBuilder::any_container(int depth, bool is_object) {
  const size_t index = static_cast<size_t>(depth) * 2 + (is_object ? 0 : 1);
  if (any_.size() <= index) any_.resize(index + 1, -1);
  if (any_[index] < 0) {
    const Grammar::Rule rule =
        g_.add_rule(fmt::format("any-{}-{}", is_object ? "object" : "array", depth));
    any_[index] = rule;
    const Expr inner = any_value(depth + 1);
    const Expr entry = is_object ? g_.sequence({other_key({}), inner}) : inner;
    g_.define(rule, g_.sequence({g_.literal(is_object ? "{" : "["),
                                 items({}, entry, 0, Grammar::kNoLimit, false),
                                 g_.literal(is_object ? "}" : "]")}));
  }
  return g_.call(any_[index]);
}

Expr SchemaBuilder::any_value(int depth) {
  if (depth >= kAnyDepth) return any_scalar();
  return g_.choice({any_container(depth, true), any_container(depth, false), any_scalar()});
}

}  // namespace flashmoe::text::schema
