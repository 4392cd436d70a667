#include "text/chat_template.h"

#include <algorithm>
#include <fstream>
#include <iterator>
#include <utility>

#include "base/error.h"
#include "text/jinja/interpreter.h"
#include "text/jinja/parser.h"
#include "text/utf8.h"

namespace flashmoe::text {
namespace {

using nlohmann::ordered_json;

std::tm local_time() {
  const std::time_t now = std::time(nullptr);
  std::tm out{};
  localtime_r(&now, &out);
  return out;
}

jinja::Value string_value(jinja::Context& context, const std::string& text, bool own) {
  std::string valid;
  if (utf8_valid_prefix(text) != text.size()) utf8_append_lossy(text, false, &valid);
  jinja::TextBuilder out(context);
  out.append(valid.empty() ? text : valid, own);
  return jinja::Value::string(out.take());
}

jinja::Value to_value(jinja::Context& context, const ordered_json& json, bool own) {
  using jinja::Value;
  const jinja::Context::Level level(context);
  switch (json.type()) {
    case ordered_json::value_t::boolean:
      return Value::boolean(json.get<bool>(), own);
    case ordered_json::value_t::number_integer:
      return Value::integer(json.get<int64_t>(), own);
    case ordered_json::value_t::number_unsigned:
      return Value::integer(json.get<uint64_t>(), own);
    case ordered_json::value_t::number_float:
      return Value::real(json.get<double>(), own);
    case ordered_json::value_t::string:
      return string_value(context, json.get_ref<const std::string&>(), own);
    case ordered_json::value_t::array: {
      std::vector<Value> items;
      items.reserve(json.size());
      for (const auto& item : json) items.push_back(to_value(context, item, own));
      return make_list(context, std::move(items), own);
    }
    case ordered_json::value_t::object: {
      auto dict = std::make_shared<jinja::DictObject>();
      for (const auto& [key, value] : json.items()) {
        dict->set(context, string_value(context, key, own), to_value(context, value, own));
      }
      return make_dict(context, std::move(dict), own);
    }
    default:
      return Value::none(own);
  }
}

std::optional<std::string> read_file(const std::filesystem::path& path) {
  std::error_code ignored;
  if (!std::filesystem::is_regular_file(path, ignored)) return std::nullopt;
  std::ifstream file(path, std::ios::binary);
  std::string text{std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
  if (!file) throw_error(ErrorCode::kIo, "{}: cannot read", path.string());
  return text;
}

ordered_json read_config(const std::filesystem::path& path) {
  const auto text = read_file(path);
  if (!text) return ordered_json::object();
  ordered_json config = ordered_json::parse(*text, nullptr, false);
  if (!config.is_object()) {
    throw_error(ErrorCode::kCorrupt, "{}: not a JSON object", path.string());
  }
  return config;
}

ordered_json special_tokens(const ordered_json& config) {
  ordered_json tokens = ordered_json::object();
  for (const auto& [key, value] : config.items()) {
    const std::string_view suffix = "_token";
    if (key.size() < suffix.size() ||
        key.compare(key.size() - suffix.size(), suffix.size(), suffix) != 0) {
      continue;
    }
    if (value.is_string()) {
      tokens[key] = value;
    } else if (value.is_object() && value.contains("content") && value["content"].is_string()) {
      tokens[key] = value["content"];
    }
  }
  return tokens;
}

// Of a list of named templates: "tool_use" if wanted and there, else "default".
const std::string* choose(const ordered_json& templates, bool with_tools) {
  const std::string* found = nullptr;
  for (const auto& entry : templates) {
    if (!entry.is_object() || !entry.contains("name") || !entry.contains("template")) continue;
    if (!entry["template"].is_string()) continue;
    const auto& source = entry["template"].get_ref<const std::string&>();
    if (with_tools && entry["name"] == "tool_use") return &source;
    if (entry["name"] == "default") found = &source;
  }
  return found;
}

}  // namespace

ChatTemplate ChatTemplate::parse(std::string source, std::string name) {
  ChatTemplate out;
  out.body_ = std::make_shared<const Body>(jinja::parse_template(std::move(source), name));
  out.name_ = std::move(name);
  return out;
}

MarkedText ChatTemplate::render(const ordered_json& variables, const RenderOptions& options) const {
  if (!variables.is_object()) {
    throw_error(ErrorCode::kUsage, "{}: the variables of a template must be an object", name_);
  }
  jinja::Context context(name_, options.limits, options.now ? options.now : local_time);
  jinja::Interpreter interpreter(context);
  for (const auto& item : variables.items()) {
    const bool trusted = std::find(options.trusted.begin(), options.trusted.end(), item.key()) !=
                         options.trusted.end();
    interpreter.set_variable(item.key(), to_value(context, item.value(), trusted));
  }
  return interpreter.render(*body_);
}

MarkedText ModelChatTemplate::render(ordered_json variables) const {
  RenderOptions options;
  for (const auto& [name, token] : tokens.items()) {
    if (variables.contains(name)) continue;
    variables[name] = token;
    options.trusted.push_back(name);
  }
  return chat_template.render(variables, options);
}

std::optional<ModelChatTemplate> load_chat_template(const std::filesystem::path& folder,
                                                    bool with_tools) {
  const std::filesystem::path config_path = folder / "tokenizer_config.json";
  const ordered_json config = read_config(config_path);
  std::filesystem::path path = folder / "chat_template.jinja";
  std::optional<std::string> source;
  if (with_tools) {
    const auto variant = folder / "additional_chat_templates" / "tool_use.jinja";
    source = read_file(variant);
    if (source) path = variant;
  }
  if (!source) source = read_file(path);
  if (!source && config.contains("chat_template")) {
    const ordered_json& entry = config["chat_template"];
    path = config_path;
    if (entry.is_string()) {
      source = entry.get<std::string>();
    } else if (const std::string* chosen = choose(entry, with_tools)) {
      source = *chosen;
    }
  }
  if (!source) return std::nullopt;
  return ModelChatTemplate{ChatTemplate::parse(std::move(*source), path.string()),
                           special_tokens(config)};
}

}  // namespace flashmoe::text
