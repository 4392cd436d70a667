#include "server/anthropic.h"

#include <limits>
#include <optional>

#include "http/sse.h"
#include "server/openai_fields.h"

namespace flashmoe::server {

namespace {

constexpr int64_t kMaxTokens = int64_t{1} << 40;
constexpr int64_t kLeastBudget = 1;

std::string join(const std::string& a, const std::string& b) {
  return a.empty() || b.empty() ? a + b : a + "\n" + b;
}

// A user's turn may hold results of tools, which templates want as messages of their own.
void read_user(const Json& content, const std::string& path, Json* messages) {
  if (content.is_string()) {
    messages->push_back({{"role", "user"}, {"content", content}});
    return;
  }
  if (!content.is_array()) refuse(path, "'{}' must be a string or an array of blocks", path);
  std::string text;
  bool has_text = false;
  for (size_t i = 0; i < content.size(); ++i) {
    const Fields block(content[i], fmt::format("{}.{}", path, i));
    const std::string type = block.required_string("type");
    if (type == "tool_result") {
      const Json* result = block.find("content");
      messages->push_back(
          {{"role", "tool"},
           {"content",
            result == nullptr ? "" : read_text_content(*result, block.path_of("content"))},
           {"tool_call_id", block.required_string("tool_use_id")}});
    } else if (type == "text") {
      text = join(text, block.required_string("text"));
      has_text = true;
    } else {
      refuse(block.path_of("type"), "'{}': content of type '{}' is not supported; only text is",
             block.path(), type);
    }
  }
  if (has_text || content.empty()) messages->push_back({{"role", "user"}, {"content", text}});
}

Json read_assistant(const Json& content, const std::string& path) {
  Json message = {{"role", "assistant"}, {"content", ""}};
  if (content.is_string()) {
    message["content"] = content;
    return message;
  }
  if (!content.is_array()) refuse(path, "'{}' must be a string or an array of blocks", path);
  std::string text, reasoning;
  for (size_t i = 0; i < content.size(); ++i) {
    const Fields block(content[i], fmt::format("{}.{}", path, i));
    const std::string type = block.required_string("type");
    if (type == "text") {
      text = join(text, block.required_string("text"));
    } else if (type == "thinking") {
      reasoning = join(reasoning, block.required_string("thinking"));
    } else if (type == "tool_use") {
      const auto input = block.object("input");
      message["tool_calls"].push_back(
          {{"id", block.required_string("id")},
           {"type", "function"},
           {"function",
            {{"name", block.required_string("name")},
             {"arguments", input ? *block.find("input") : Json::object()}}}});
    } else if (type != "redacted_thinking") {
      refuse(block.path_of("type"), "'{}': content of type '{}' is not supported", block.path(),
             type);
    }
  }
  message["content"] = text;
  if (!reasoning.empty()) message["reasoning_content"] = reasoning;
  return message;
}

void read_tools(const Fields& fields, Chat* chat) {
  if (const Json* tools = fields.array("tools")) {
    for (size_t i = 0; i < tools->size(); ++i) {
      const Fields tool((*tools)[i], fmt::format("tools.{}", i));
      const std::string type = tool.string("type").value_or("custom");
      if (type != "custom") {
        refuse(tool.path_of("type"), "'{}': only tools of type 'custom' are supported",
               tool.path());
      }
      if (tool.find("input_schema") == nullptr) {
        refuse(tool.path_of("input_schema"), "'{}' is missing", tool.path_of("input_schema"));
      }
      chat->tools.push_back(function_tool(tool, "input_schema"));
    }
  }
  const auto choice = fields.object("tool_choice");
  if (!choice) return;
  chat->tool_choice.parallel = !choice->boolean("disable_parallel_tool_use").value_or(false);
  const std::string type = choice->required_string("type");
  if (type == "any") {
    chat->tool_choice.kind = ToolChoice::kRequired;
  } else if (type == "none") {
    chat->tool_choice.kind = ToolChoice::kNone;
  } else if (type == "tool") {
    chat->tool_choice.kind = ToolChoice::kNamed;
    chat->tool_choice.name = choice->required_string("name");
  } else if (type != "auto") {
    refuse("tool_choice.type", "'tool_choice.type' must be auto, any, tool or none");
  }
}

// Who does not ask for thinking does not expect it.
Thinking read_thinking(const Fields& fields) {
  const auto thinking = fields.object("thinking");
  if (!thinking) return {false, -1};
  const std::string type = thinking->required_string("type");
  if (type == "disabled") return {false, 0};
  if (type == "adaptive" || type == "between_tools") {
    const auto config = fields.object("output_config");
    const auto effort = config ? config->string("effort") : std::nullopt;
    return effort ? read_effort(*effort, "output_config.effort") : Thinking{true, -1};
  }
  if (type != "enabled") {
    refuse("thinking.type", "'thinking.type' must be enabled, disabled, adaptive or between_tools");
  }
  return {true, thinking->integer("budget_tokens", kLeastBudget, kMaxTokens).value_or(-1)};
}

AnswerFormat read_format(const Fields& fields) {
  auto format = fields.object("output_format");
  if (const auto config = fields.object("output_config"); config && !format) {
    format = config->object("format");
  }
  if (!format) return {};
  if (format->required_string("type") != "json_schema") {
    refuse(format->path_of("type"), "'{}' must be json_schema", format->path_of("type"));
  }
  return read_schema_format(*format);
}

Json usage_json(const Usage& usage) {
  return {{"input_tokens", usage.prompt_tokens - usage.cached_tokens},
          {"cache_creation_input_tokens", 0},
          {"cache_read_input_tokens", usage.cached_tokens},
          {"output_tokens", usage.answer_tokens},
          {"output_tokens_details", {{"thinking_tokens", usage.reasoning_tokens}}}};
}

const char* stop_reason(const Choice& choice) {
  if (!choice.stop_string.empty()) return "stop_sequence";
  if (choice.finish == Finish::kLength) return "max_tokens";
  return choice.finish == Finish::kToolCall ? "tool_use" : "end_turn";
}

Json stop_string(const Choice& choice) {
  return choice.stop_string.empty() ? Json(nullptr) : Json(choice.stop_string);
}

class MessagesEncoder final : public AnswerEncoder {
 public:
  explicit MessagesEncoder(AnswerName name) : name_(std::move(name)) {}

  Json whole(const Answer& answer) override {
    const Choice& choice = answer.choices.at(0);
    Json content = Json::array();
    if (!choice.reasoning.empty()) {
      content.push_back({{"type", "thinking"}, {"thinking", choice.reasoning}, {"signature", ""}});
    }
    if (!choice.text.empty()) content.push_back({{"type", "text"}, {"text", choice.text}});
    for (const Call& call : choice.calls) {
      Json input = Json::parse(call.arguments, nullptr, false);
      if (input.is_discarded()) input = Json::object();  // cut off by max_tokens
      content.push_back({{"type", "tool_use"},
                         {"id", "toolu_" + call.id},
                         {"name", call.name},
                         {"input", std::move(input)}});
    }
    Json json = head();
    json["content"] = std::move(content);
    json["stop_reason"] = stop_reason(choice);
    json["stop_sequence"] = stop_string(choice);
    json["usage"] = usage_json(answer.usage);
    return json;
  }

  std::string begin(int64_t prompt_tokens) override {
    Json message = head();
    message["content"] = Json::array();
    message["stop_reason"] = nullptr;
    message["stop_sequence"] = nullptr;
    message["usage"] = usage_json({prompt_tokens});
    return sse("message_start", {{"message", std::move(message)}}) + filler();
  }

  std::string event(const Event& event) override {
    switch (event.kind) {
      case Event::kReasoning: {
        std::string out =
            open(Event::kReasoning, {{"type", "thinking"}, {"thinking", ""}, {"signature", ""}});
        return out += delta({{"type", "thinking_delta"}, {"thinking", event.text}});
      }
      case Event::kText: {
        if (event.text.empty()) return "";
        std::string out = open(Event::kText, {{"type", "text"}, {"text", ""}});
        return out += delta({{"type", "text_delta"}, {"text", event.text}});
      }
      case Event::kToolCall: {
        std::string out = close();
        return out += open(Event::kToolCall, {{"type", "tool_use"},
                                              {"id", "toolu_" + event.id},
                                              {"name", event.text},
                                              {"input", Json::object()}});
      }
      case Event::kToolArguments:
        return delta({{"type", "input_json_delta"}, {"partial_json", event.text}});
      case Event::kEnd:
        break;
    }
    return close();
  }

  std::string filler() const override { return sse("ping", Json::object()); }

  std::string end(const Answer& answer) override {
    const Choice& choice = answer.choices.at(0);
    return sse("message_delta",
               {{"delta",
                 {{"stop_reason", stop_reason(choice)}, {"stop_sequence", stop_string(choice)}}},
                {"usage", usage_json(answer.usage)}}) +
           sse("message_stop", Json::object());
  }

  std::string error(const ApiError& error) override {
    return http::sse_text(dump(anthropic_error(error)), "error");
  }

  Json error_body(const ApiError& error) override { return anthropic_error(error); }

 private:
  Json head() const {
    return {{"id", "msg_" + name_.id},
            {"type", "message"},
            {"role", "assistant"},
            {"model", name_.model}};
  }
  static std::string sse(const char* type, Json data) {
    Json json = {{"type", type}};
    json.update(data);
    return http::sse_text(dump(json), type);
  }
  std::string open(Event::Kind kind, Json block) {
    if (open_ == kind) return "";
    std::string text = close();
    open_ = kind;
    return text +
           sse("content_block_start", {{"index", index_}, {"content_block", std::move(block)}});
  }
  std::string delta(Json delta) const {
    return sse("content_block_delta", {{"index", index_}, {"delta", std::move(delta)}});
  }
  std::string close() {
    if (!open_) return "";
    open_.reset();
    return sse("content_block_stop", {{"index", index_++}});
  }

  const AnswerName name_;
  std::optional<Event::Kind> open_;  // the block at hand
  int index_ = 0;                    // of it, or of the next
};

}  // namespace

Request read_messages(const Json& body, bool max_tokens_needed) {
  const Fields fields(body);
  Request request;
  Chat chat;
  fields.string("model");
  if (const Json* system = fields.find("system")) {
    chat.messages.push_back(
        {{"role", "system"}, {"content", read_text_content(*system, "system")}});
  }
  const Json* messages = fields.array("messages");
  if (messages == nullptr || messages->empty()) {
    refuse("messages", "'messages' must be an array of at least one message");
  }
  for (size_t i = 0; i < messages->size(); ++i) {
    const Fields message((*messages)[i], fmt::format("messages.{}", i));
    const std::string role = message.required_string("role");
    const std::string path = message.path_of("content");
    const Json* content = message.find("content");
    if (content == nullptr) refuse(path, "'{}' is missing", path);
    if (role == "user") {
      read_user(*content, path, &chat.messages);
    } else if (role == "assistant") {
      chat.messages.push_back(read_assistant(*content, path));
    } else if (role == "system") {
      add_message(&chat.messages,
                  {{"role", "system"}, {"content", read_text_content(*content, path)}});
    } else {
      refuse(message.path_of("role"), "'{}' must be user or assistant", message.path_of("role"));
    }
  }
  chat.thinking = read_thinking(fields);
  read_tools(fields, &chat);
  read_template_variables(fields, &chat);
  // An answer that is begun is gone on with.
  if (const Json& last = chat.messages.back();
      last["role"] == "assistant" && !last.contains("tool_calls")) {
    if (chat.thinking.enabled.value_or(false)) {
      refuse("messages", "the last message may not be the assistant's when thinking is enabled");
    }
    chat.prefill = last["content"].get<std::string>();
    chat.messages.erase(chat.messages.end() - 1);
    if (chat.messages.empty()) refuse("messages", "'messages' must hold a message of the user");
  }
  request.prompt = std::move(chat);
  Sampling& s = request.sampling;
  s.temperature = fields.number("temperature", 0, 2);
  s.top_p = fields.number("top_p", 0, 1);
  s.top_k = fields.integer("top_k", 0, std::numeric_limits<int32_t>::max());
  request.format = read_format(fields);
  request.stop = read_stop(fields, "stop_sequences");
  const auto max_tokens = fields.integer("max_tokens", 1, kMaxTokens);
  if (!max_tokens && max_tokens_needed) refuse("max_tokens", "'max_tokens' is missing");
  request.max_tokens = max_tokens.value_or(-1);
  request.stream = fields.boolean("stream").value_or(false);
  return request;
}

std::unique_ptr<AnswerEncoder> messages_encoder(AnswerName name) {
  return std::make_unique<MessagesEncoder>(std::move(name));
}

Json anthropic_error(const ApiError& error) {
  const char* type = "api_error";
  switch (error.status()) {
    case 401:
      type = "authentication_error";
      break;
    case 403:
      type = "permission_error";
      break;
    case 404:
      type = "not_found_error";
      break;
    case 413:
      type = "request_too_large";
      break;
    case 429:
      type = "rate_limit_error";
      break;
    case 503:
      type = "overloaded_error";
      break;
    case 408:
    case 504:
      type = "timeout_error";
      break;
    default:
      if (error.status() < 500) type = "invalid_request_error";
  }
  return {{"type", "error"}, {"error", {{"type", type}, {"message", error.what()}}}};
}

}  // namespace flashmoe::server
