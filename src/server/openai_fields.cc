#include "server/openai_fields.h"

#include <charconv>
#include <limits>

#include "text/utf8.h"

namespace flashmoe::server {

namespace {

constexpr size_t kMaxStops = 16;
constexpr size_t kMaxBiases = 4096;
constexpr int64_t kMaxThinking = int64_t{1} << 40;

std::vector<std::pair<int32_t, float>> read_bias(const Fields& fields) {
  std::vector<std::pair<int32_t, float>> biases;
  const Json* given = fields.find("logit_bias");
  if (given == nullptr) return biases;
  const std::string path = fields.path_of("logit_bias");
  if (!given->is_object() || given->size() > kMaxBiases) {
    refuse(path, "'{}' must be an object of at most {} token ids", path, kMaxBiases);
  }
  for (const auto& [key, value] : given->items()) {
    int32_t token = -1;
    const auto [end, error] = std::from_chars(key.data(), key.data() + key.size(), token);
    if (error != std::errc() || end != key.data() + key.size() || token < 0) {
      refuse(path, "'{}': '{}' is no token id", path, key);
    }
    const double bias = value.is_number() ? value.get<double>() : 1e9;
    if (!(bias >= -100 && bias <= 100)) {
      refuse(path, "'{}' must hold numbers from -100 to 100", path);
    }
    biases.emplace_back(token, static_cast<float>(bias));
  }
  return biases;
}

const char* error_type(int status) {
  switch (status) {
    case 401:
      return "authentication_error";
    case 403:
      return "permission_error";
    case 404:
      return "not_found_error";
    case 429:
      return "rate_limit_error";
    case 408:
    case 504:
      return "timeout_error";
    default:
      return status < 500 ? "invalid_request_error" : "server_error";
  }
}

Json error_code(const ApiError& error) {
  if (!error.code().empty()) return error.code();
  switch (error.status()) {
    case 401:
      return "invalid_api_key";
    case 404:
      return error.param() == "model" ? Json("model_not_found") : Json("not_found");
    case 429:
      return "queue_full";
    case 504:
      return "timeout";
    default:
      return nullptr;
  }
}

Json bytes_of(const std::string& text) {
  Json bytes = Json::array();
  for (const char c : text) bytes.push_back(static_cast<unsigned char>(c));
  return bytes;
}

Json logprob_json(const Logprob& logprob) {
  std::string token;
  text::utf8_append_lossy(logprob.token, false, &token);
  return {{"token", token}, {"logprob", logprob.logprob}, {"bytes", bytes_of(logprob.token)}};
}

}  // namespace

Sampling read_sampling(const Fields& fields) {
  constexpr int64_t kMax = std::numeric_limits<int64_t>::max();
  Sampling s;
  s.temperature = fields.number("temperature", 0, 2);
  s.top_p = fields.number("top_p", 0, 1);
  s.min_p = fields.number("min_p", 0, 1);
  s.top_k = fields.integer("top_k", -1, std::numeric_limits<int32_t>::max());
  if (s.top_k == -1) s.top_k = 0;  // as others say "all"
  s.repetition_penalty = fields.number("repetition_penalty", 0.01, 100);
  s.presence_penalty = fields.number("presence_penalty", -2, 2);
  s.frequency_penalty = fields.number("frequency_penalty", -2, 2);
  if (const auto seed = fields.integer("seed", -kMax - 1, kMax)) {
    s.seed = static_cast<uint64_t>(*seed);
  }
  s.logit_bias = read_bias(fields);
  return s;
}

std::vector<std::string> read_stop(const Fields& fields, const char* name) {
  std::vector<std::string> stop = fields.strings(name);
  const std::string path = fields.path_of(name);
  if (stop.size() > kMaxStops) refuse(path, "'{}' may hold at most {} strings", path, kMaxStops);
  for (const std::string& one : stop) {
    if (one.empty()) refuse(path, "'{}' must not hold an empty string", path);
  }
  return stop;
}

std::string read_text_content(const Json& content, const std::string& path) {
  if (content.is_null()) return "";
  if (content.is_string()) return content.get<std::string>();
  if (!content.is_array()) refuse(path, "'{}' must be a string or an array of parts", path);
  std::string text;
  for (size_t i = 0; i < content.size(); ++i) {
    const Fields part(content[i], fmt::format("{}[{}]", path, i));
    const std::string type = part.string("type").value_or("text");
    const bool refusal = type == "refusal";
    if (type != "text" && type != "input_text" && type != "output_text" && !refusal) {
      refuse(part.path_of("type"), "'{}': content of type '{}' is not supported; only text is",
             part.path(), type);
    }
    if (i > 0) text += '\n';
    text += part.required_string(refusal ? "refusal" : "text");
  }
  return text;
}

AnswerFormat read_schema_format(const Fields& fields) {
  const Json* schema = fields.find("schema");
  if (schema == nullptr || !(schema->is_object() || schema->is_boolean())) {
    refuse(fields.path_of("schema"), "'{}' must be a JSON schema", fields.path_of("schema"));
  }
  return {AnswerFormat::kJsonSchema, *schema, ""};
}

AnswerFormat read_response_format(const Fields& fields) {
  if (auto grammar = fields.string("grammar"); grammar && !grammar->empty()) {
    return {AnswerFormat::kGrammar, {}, *grammar};
  }
  const auto format = fields.object("response_format");
  if (!format) return {};
  const std::string type = format->required_string("type");
  if (type == "text") return {};
  if (type == "json_object") return {AnswerFormat::kJsonObject, {}, ""};
  const auto schema = format->object("json_schema");
  if (type != "json_schema" || !schema) {
    refuse(format->path_of("type"),
           "'{}' must be text, json_object or json_schema with a 'json_schema'",
           format->path_of("type"));
  }
  return read_schema_format(*schema);
}

Json function_tool(const Fields& tool, const char* parameters) {
  Json function = {{"name", tool.required_string("name")}};
  if (auto description = tool.string("description")) function["description"] = *description;
  const Json* schema = tool.find(parameters);
  function["parameters"] =
      schema != nullptr ? *schema : Json{{"type", "object"}, {"properties", Json::object()}};
  if (tool.boolean("strict").value_or(false)) function["strict"] = true;
  return {{"type", "function"}, {"function", std::move(function)}};
}

Thinking read_effort(const std::string& effort, const std::string& path) {
  if (effort == "none") return {false, 0};
  if (effort == "minimal") return {true, 256};
  if (effort == "low") return {true, 1024};
  if (effort == "medium") return {true, 4096};
  if (effort == "high") return {true, 16384};
  if (effort == "xhigh" || effort == "max") return {true, -1};
  refuse(path, "'{}' must be none, minimal, low, medium, high or xhigh", path);
}

void read_thinking_budget(const Fields& fields, Chat* chat) {
  const auto budget = fields.integer("thinking_budget", 0, kMaxThinking);
  if (budget) chat->thinking = {*budget > 0, *budget};
}

void read_allowed_tools(const Fields& fields, const char* nested, ToolChoice* choice) {
  const std::string mode = fields.required_string("mode");
  if (mode != "auto" && mode != "required") {
    refuse(fields.path_of("mode"), "'{}' must be auto or required", fields.path_of("mode"));
  }
  choice->kind = mode == "auto" ? ToolChoice::kAuto : ToolChoice::kRequired;
  const Json* tools = fields.array("tools");
  if (tools == nullptr || tools->empty()) {
    refuse(fields.path_of("tools"), "'{}' must name at least one tool", fields.path_of("tools"));
  }
  for (size_t i = 0; i < tools->size(); ++i) {
    const Fields tool((*tools)[i], fmt::format("{}[{}]", fields.path_of("tools"), i));
    const auto function = nested != nullptr ? tool.object(nested) : std::optional<Fields>(tool);
    if (!function) refuse(tool.path(), "'{}' must name a function", tool.path());
    choice->allowed.push_back(function->required_string("name"));
  }
}

void read_template_variables(const Fields& fields, Chat* chat) {
  const auto given = fields.object("chat_template_kwargs");
  if (!given) return;
  if (const auto enabled = given->boolean("enable_thinking")) chat->thinking.enabled = *enabled;
  for (const auto& [key, value] : fields.find("chat_template_kwargs")->items()) {
    if (key == "messages" || key == "tools" || key == "add_generation_prompt") {
      refuse(given->path_of(key), "'{}' cannot be set here", given->path_of(key));
    }
    if (key != "enable_thinking") chat->template_variables[key] = value;
  }
}

void add_message(Json* messages, Json message) {
  if (message["role"] == "developer") message["role"] = "system";
  if (messages->size() == 1 && message["role"] == "system" &&
      messages->front()["role"] == "system") {
    Json& content = messages->front()["content"];
    content = content.get<std::string>() + "\n\n" + message["content"].get<std::string>();
    return;
  }
  messages->push_back(std::move(message));
}

Json openai_error(const ApiError& error) {
  return {{"error",
           {{"message", error.what()},
            {"type", error_type(error.status())},
            {"param", error.param().empty() ? Json(nullptr) : Json(error.param())},
            {"code", error_code(error)}}}};
}

const char* openai_finish(Finish finish) {
  switch (finish) {
    case Finish::kStop:
      return "stop";
    case Finish::kLength:
      return "length";
    case Finish::kToolCall:
      break;
  }
  return "tool_calls";
}

Json openai_logprobs(const std::vector<TokenLogprobs>& logprobs) {
  Json list = Json::array();
  for (const TokenLogprobs& one : logprobs) {
    Json entry = logprob_json(one.chosen);
    entry["top_logprobs"] = Json::array();
    for (const Logprob& top : one.top) entry["top_logprobs"].push_back(logprob_json(top));
    list.push_back(std::move(entry));
  }
  return list;
}

}  // namespace flashmoe::server
