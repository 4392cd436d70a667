#include "text/tool_grammar.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "base/error.h"
#include "text/json_schema.h"
#include "text/schema/builder.h"

namespace flashmoe::text {

namespace {

using Expr = Grammar::Expr;
using Json = nlohmann::ordered_json;

// {"name": "f", "arguments": {…}} as templates write it.
Expr json_call(const Tool& tool, const Json& parameters, Grammar* g) {
  schema::SchemaBuilder builder(parameters, g);
  const std::string path = fmt::format("tools.{}.parameters", tool.name);
  return g->sequence({g->literal(fmt::format("\n{{\"name\": \"{}\", \"arguments\": ", tool.name)),
                      builder.value(parameters, path), g->literal("}\n")});
}

Expr xml_call(const Tool& tool, const Json& parameters, Grammar* g) {
  schema::SchemaBuilder builder(parameters, g);
  const std::string path = fmt::format("tools.{}.parameters", tool.name);
  // The arguments must be an object whose members are known one by one.
  const schema::SchemaReader& reader = builder.reader();
  const Json flat = reader.flat(reader.relevant(parameters, path), path);
  for (const char* key : {"anyOf", "oneOf", "enum", "minProperties", "maxProperties"}) {
    if (flat.contains(key)) {
      schema::refuse(path, fmt::format("'{}' is not supported for the arguments of a call", key));
    }
  }
  const Json properties = flat.value("properties", Json::object());
  const Json required = flat.value("required", Json::array());
  std::vector<Expr> parts = {g->literal(fmt::format("\n<function={}>\n", tool.name))};
  const auto parameter = [&](Expr name, Expr value) {
    return g->sequence({g->literal("<parameter="), name, g->literal(">\n"), value,
                        g->literal("\n</parameter>\n")});
  };
  for (const auto& item : properties.items()) {
    const bool is_required =
        std::find(required.begin(), required.end(), item.key()) != required.end();
    if (item.value() == Json(false) && !is_required) continue;
    const Expr one = parameter(
        g->literal(item.key()),
        builder.raw_value(item.value(), fmt::format("{}.properties.{}", path, item.key())));
    parts.push_back(is_required ? one : g->optional(one));
  }
  for (const Json& name : required) {
    if (!properties.contains(name.get<std::string>())) {
      schema::refuse(
          path, fmt::format("'{}' is required, but not in 'properties'", name.get<std::string>()));
    }
  }
  const auto more = flat.find("additionalProperties");
  if (properties.empty() && (more == flat.end() || *more != Json(false))) {
    const Expr name = g->repeat(
        g->one_of(code_point_set({{'0', '9'}, {'A', 'Z'}, {'_', '_'}, {'a', 'z'}, {'-', '-'}})), 1,
        64);
    const Json value = more == flat.end() ? Json::object() : *more;
    parts.push_back(
        g->repeat(parameter(name, builder.raw_value(value, path + ".additionalProperties")), 0,
                  Grammar::kNoLimit));
  }
  parts.push_back(g->literal("</function>\n"));
  return g->sequence(std::move(parts));
}

Expr call_of(ToolFormat format, const Tool& tool, Grammar* g) {
  const auto make = [&](const Json& parameters) {
    return format == ToolFormat::kJson ? json_call(tool, parameters, g)
                                       : xml_call(tool, parameters, g);
  };
  if (tool.strict) return make(tool.parameters);
  try {
    return make(tool.parameters);
  } catch (const Error&) {
    return make(Json{{"type", "object"}});
  }
}

}  // namespace

Grammar tool_grammar(ToolFormat format, const std::vector<Tool>& tools, const ToolChoice& choice) {
  if (format == ToolFormat::kNone) {
    throw Error(ErrorCode::kUsage,
                "the model's chat template has no form of tool calls that is known");
  }
  Grammar g;
  const Grammar::Rule root = g.add_rule("answer");
  std::vector<Expr> calls;
  for (const Tool& tool : tools) {
    if (choice.kind == ToolChoice::kNamed && tool.name != choice.name) continue;
    // Every tool's schema is a document of its own.
    calls.push_back(call_of(format, tool, &g));
  }
  if (calls.empty()) {
    if (choice.kind != ToolChoice::kNamed) throw Error(ErrorCode::kUsage, "there are no tools");
    throw_error(ErrorCode::kUsage, "tool_choice names '{}', which is none of the tools",
                choice.name);
  }
  const Grammar::Rule call = g.add_rule("call");
  g.define(call, g.sequence({g.tag(kCallOpen), g.choice(std::move(calls)), g.tag(kCallClose)}));
  const bool several = choice.parallel && choice.kind != ToolChoice::kNamed;
  const auto only_calls = [&] {
    const Expr next = g.sequence({g.literal("\n"), g.call(call)});
    const Expr space = g.repeat(g.literal("\n"), 0, 2);
    return g.sequence({space, g.call(call), g.repeat(next, 0, several ? Grammar::kNoLimit : 0)});
  };
  Expr answer;
  if (choice.kind != ToolChoice::kAuto) {
    answer = only_calls();
  } else if (!choice.answer_schema.is_null()) {
    schema::SchemaBuilder builder(choice.answer_schema, &g);
    answer = g.choice({only_calls(), builder.value(choice.answer_schema, "$")});
  } else {
    const auto text = [&] { return g.text_without(kCallOpen); };
    const Expr one = g.call(call);
    answer = several
                 ? g.sequence({text(), g.repeat(g.sequence({one, text()}), 0, Grammar::kNoLimit)})
                 : g.sequence({text(), g.optional(one)});
  }
  g.define(root, answer);
  g.set_root(root);
  return g;
}

}  // namespace flashmoe::text
