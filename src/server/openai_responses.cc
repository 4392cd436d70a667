#include "server/openai_responses.h"

#include <optional>

#include "http/sse.h"
#include "server/openai_fields.h"

namespace flashmoe::server {

namespace {

constexpr int64_t kMaxTokens = int64_t{1} << 40;

// The conversation's next item; calls and reasoning join the assistant's message at hand.
class InputReader {
 public:
  explicit InputReader(Json* messages) : messages_(messages) {}

  void read(const Json& json, const std::string& path) {
    const Fields item(json, path);
    const std::string type = item.string("type").value_or("message");
    if (type == "message") {
      message(item);
    } else if (type == "function_call") {
      assistant()["tool_calls"].push_back({{"id", item.required_string("call_id")},
                                           {"type", "function"},
                                           {"function",
                                            {{"name", item.required_string("name")},
                                             {"arguments", item.required_string("arguments")}}}});
    } else if (type == "function_call_output") {
      const Json* output = item.find("output");
      messages_->push_back(
          {{"role", "tool"},
           {"content", output == nullptr ? "" : read_text_content(*output, item.path_of("output"))},
           {"tool_call_id", item.required_string("call_id")}});
    } else if (type == "reasoning") {
      std::string text;
      const Json* content = item.array("content");
      for (size_t i = 0; content != nullptr && i < content->size(); ++i) {
        text += Fields((*content)[i], fmt::format("{}[{}]", item.path_of("content"), i))
                    .string("text")
                    .value_or("");
      }
      if (!text.empty()) pending_reasoning_ = text;
    } else {
      refuse(item.path_of("type"), "'{}': input of type '{}' is not supported", path, type);
    }
  }

 private:
  void message(const Fields& item) {
    const std::string role = item.required_string("role");
    if (role != "system" && role != "developer" && role != "user" && role != "assistant") {
      refuse(item.path_of("role"), "'{}' must be system, developer, user or assistant",
             item.path_of("role"));
    }
    const Json* content = item.find("content");
    if (content == nullptr) {
      refuse(item.path_of("content"), "'{}' is missing", item.path_of("content"));
    }
    std::string text = read_text_content(*content, item.path_of("content"));
    if (role == "assistant") {
      begin_assistant()["content"] = std::move(text);
    } else {
      add_message(messages_, {{"role", role}, {"content", std::move(text)}});
    }
  }
  Json& begin_assistant() {
    messages_->push_back({{"role", "assistant"}, {"content", ""}});
    if (!pending_reasoning_.empty()) {
      messages_->back()["reasoning_content"] = std::exchange(pending_reasoning_, {});
    }
    return messages_->back();
  }
  Json& assistant() {
    const bool there = !messages_->empty() && messages_->back()["role"] == "assistant";
    return there ? messages_->back() : begin_assistant();
  }

  Json* messages_;
  std::string pending_reasoning_;
};

void read_tools(const Fields& fields, Chat* chat) {
  const Json* tools = fields.array("tools");
  for (size_t i = 0; tools != nullptr && i < tools->size(); ++i) {
    const Fields tool((*tools)[i], fmt::format("tools[{}]", i));
    if (tool.required_string("type") != "function") {
      refuse(tool.path_of("type"), "'{}': only tools of type 'function' are supported",
             tool.path());
    }
    chat->tools.push_back(function_tool(tool));
  }
  ToolChoice& choice = chat->tool_choice;
  choice.parallel = fields.boolean("parallel_tool_calls").value_or(true);
  const Json* given = fields.find("tool_choice");
  if (given == nullptr || *given == "auto") return;
  if (*given == "none") {
    choice.kind = ToolChoice::kNone;
  } else if (*given == "required") {
    choice.kind = ToolChoice::kRequired;
  } else if (given->is_object() && given->value("type", Json()) == "allowed_tools") {
    read_allowed_tools(Fields(*given, "tool_choice"), nullptr, &choice);
  } else if (given->is_object() && given->value("type", Json()) == "function") {
    choice.kind = ToolChoice::kNamed;
    choice.name = Fields(*given, "tool_choice").required_string("name");
  } else {
    refuse("tool_choice",
           "'tool_choice' must be auto, none, required, {{type: function, name}} or "
           "{{type: allowed_tools, mode, tools}}");
  }
}

AnswerFormat read_format(const Fields& fields) {
  const auto text = fields.object("text");
  const auto format = text ? text->object("format") : std::nullopt;
  if (!format) return {};
  const std::string type = format->required_string("type");
  if (type == "text") return {};
  if (type == "json_object") return {AnswerFormat::kJsonObject, {}, ""};
  if (type != "json_schema") {
    refuse("text.format.type", "'text.format.type' must be text, json_object or json_schema");
  }
  return read_schema_format(*format);
}

void refuse_what_needs_a_store(const Fields& fields) {
  for (const char* name : {"previous_response_id", "conversation", "prompt"}) {
    if (fields.find(name) != nullptr) {
      refuse(name, "'{}' is not supported: nothing is stored; send the history as 'input'", name);
    }
  }
  if (fields.boolean("background").value_or(false)) {
    refuse("background", "'background' is not supported");
  }
}

Json usage_json(const Usage& usage) {
  return {{"input_tokens", usage.prompt_tokens},
          {"input_tokens_details", {{"cached_tokens", usage.cached_tokens}}},
          {"output_tokens", usage.answer_tokens},
          {"output_tokens_details", {{"reasoning_tokens", usage.reasoning_tokens}}},
          {"total_tokens", usage.total()}};
}

class ResponsesEncoder final : public AnswerEncoder {
 public:
  ResponsesEncoder(const ResponsesRequest& request, AnswerName name)
      : name_(std::move(name)), logprobs_(request.request.logprobs >= 0), echo_(request.echo) {}

  Json whole(const Answer& answer) override {
    const Choice& choice = answer.choices.at(0);
    if (!choice.reasoning.empty()) {
      items_.push_back(reasoning_item("completed", choice.reasoning));
    }
    // An answer has an item even when it says nothing.
    if (!choice.text.empty() || choice.calls.empty()) {
      Json part = text_part(choice.text);
      if (logprobs_) part["logprobs"] = openai_logprobs(choice.logprobs);
      items_.push_back(message_item("completed", Json::array({std::move(part)})));
    }
    for (const Call& call : choice.calls) items_.push_back(call_item("completed", call));
    items_.back()["status"] = status(choice);
    return response(status(choice), &answer);
  }

  std::string begin(int64_t) override {
    const Json json = response("in_progress", nullptr);
    std::string out = sse("response.created", {{"response", json}});
    return out += sse("response.in_progress", {{"response", json}});
  }

  std::string event(const Event& event) override {
    std::string out;
    switch (event.kind) {
      case Event::kReasoning:
        if (open_ != Event::kReasoning) {
          out = close();
          out += add_item(Event::kReasoning, reasoning_item("in_progress", ""));
        }
        text_ += event.text;
        return out + sse("response.reasoning_text.delta",
                         place({{"content_index", 0}, {"delta", event.text}}));
      case Event::kText:
        if (open_ != Event::kText) {
          out = close();
          out += add_item(Event::kText, message_item("in_progress", Json::array()));
          out += sse("response.content_part.added",
                     place({{"content_index", 0}, {"part", text_part("")}}));
        }
        text_ += event.text;
        text_logprobs_.insert(text_logprobs_.end(), event.logprobs.begin(), event.logprobs.end());
        return out + sse("response.output_text.delta",
                         place({{"content_index", 0},
                                {"delta", event.text},
                                {"logprobs", openai_logprobs(event.logprobs)}}));
      case Event::kToolCall:
        out = close();
        call_ = {event.id, event.text, ""};
        return out + add_item(Event::kToolCall, call_item("in_progress", call_));
      case Event::kToolArguments:
        call_.arguments += event.text;
        return sse("response.function_call_arguments.delta", place({{"delta", event.text}}));
      case Event::kEnd:
        break;
    }
    return close(status(event.finish));
  }

  std::string end(const Answer& answer) override {
    const char* last = status(answer.choices.at(0));
    return sse(fmt::format("response.{}", last), {{"response", response(last, &answer)}});
  }

  std::string error(const ApiError& error) override {
    Json json = response("failed", nullptr);
    json["error"] = {{"code", error.status() == 429 ? "rate_limit_exceeded" : "server_error"},
                     {"message", error.what()}};
    return sse("response.failed", {{"response", std::move(json)}});
  }

  Json error_body(const ApiError& error) override { return openai_error(error); }

 private:
  static const char* status(Finish finish) {
    return finish == Finish::kLength ? "incomplete" : "completed";
  }
  static const char* status(const Choice& choice) { return status(choice.finish); }
  std::string item_id(const char* prefix) const {
    return fmt::format("{}_{}{}", prefix, name_.id, items_.size());
  }
  Json reasoning_item(const char* status, const std::string& text) const {
    Json content = Json::array();
    if (!text.empty()) content.push_back({{"type", "reasoning_text"}, {"text", text}});
    return {{"id", item_id("rs")},
            {"type", "reasoning"},
            {"status", status},
            {"summary", Json::array()},
            {"content", std::move(content)}};
  }
  static Json text_part(const std::string& text) {
    return {{"type", "output_text"},
            {"text", text},
            {"annotations", Json::array()},
            {"logprobs", Json::array()}};
  }
  Json message_item(const char* status, Json content) const {
    return {{"id", item_id("msg")},
            {"type", "message"},
            {"role", "assistant"},
            {"status", status},
            {"content", std::move(content)}};
  }
  Json call_item(const char* status, const Call& call) const {
    return {{"id", item_id("fc")}, {"type", "function_call"},
            {"status", status},    {"call_id", "call_" + call.id},
            {"name", call.name},   {"arguments", call.arguments}};
  }

  // The object that a response is. `answer`: null while it is made.
  Json response(const char* status, const Answer* answer) const {
    Json json = {
        {"id", "resp_" + name_.id}, {"object", "response"}, {"created_at", name_.created_s},
        {"status", status},         {"error", nullptr},     {"incomplete_details", nullptr},
        {"model", name_.model},     {"output", items_}};
    if (status == std::string_view("incomplete")) {
      json["incomplete_details"] = {{"reason", "max_output_tokens"}};
    }
    json["previous_response_id"] = nullptr;
    json["store"] = false;
    json["truncation"] = "disabled";
    json.update(echo_);
    json["usage"] = answer == nullptr ? Json(nullptr) : usage_json(answer->usage);
    return json;
  }

  std::string sse(const std::string& type, Json data) {
    Json json = {{"type", type}, {"sequence_number", sequence_++}};
    json.update(data);
    return http::sse_text(dump(json), type);
  }
  // The event's data with the place of the item at hand.
  Json place(Json data) const {
    Json json = {{"item_id", item_["id"]}, {"output_index", items_.size()}};
    json.update(data);
    return json;
  }
  std::string add_item(Event::Kind kind, Json item) {
    open_ = kind;
    text_.clear();
    text_logprobs_.clear();
    item_ = std::move(item);
    return sse("response.output_item.added", {{"output_index", items_.size()}, {"item", item_}});
  }
  // Ends the item at hand.
  std::string close(const char* status = "completed") {
    if (!open_) return "";
    std::string out;
    switch (*open_) {
      case Event::kReasoning:
        out = sse("response.reasoning_text.done", place({{"content_index", 0}, {"text", text_}}));
        item_ = reasoning_item(status, text_);
        break;
      case Event::kText: {
        Json part = text_part(text_);
        part["logprobs"] = openai_logprobs(text_logprobs_);
        out = sse("response.output_text.done",
                  place({{"content_index", 0}, {"text", text_}, {"logprobs", part["logprobs"]}}));
        out += sse("response.content_part.done", place({{"content_index", 0}, {"part", part}}));
        item_ = message_item(status, Json::array({std::move(part)}));
        break;
      }
      default:
        out = sse("response.function_call_arguments.done",
                  place({{"name", call_.name}, {"arguments", call_.arguments}}));
        item_ = call_item(status, call_);
    }
    open_.reset();
    out += sse("response.output_item.done", {{"output_index", items_.size()}, {"item", item_}});
    items_.push_back(std::move(item_));
    return out;
  }

  const AnswerName name_;
  const bool logprobs_;
  const Json echo_;
  Json items_ = Json::array();  // that are whole
  int64_t sequence_ = 0;
  // The item at hand.
  std::optional<Event::Kind> open_;
  Json item_;
  std::string text_;
  std::vector<TokenLogprobs> text_logprobs_;
  Call call_;
};

}  // namespace

ResponsesRequest read_responses(const Json& body) {
  const Fields fields(body);
  refuse_what_needs_a_store(fields);
  ResponsesRequest out;
  Request& request = out.request;
  Chat chat;
  fields.string("model");
  if (auto instructions = fields.string("instructions")) {
    add_message(&chat.messages, {{"role", "system"}, {"content", *instructions}});
  }
  const Json* input = fields.find("input");
  if (input == nullptr) refuse("input", "'input' is missing");
  if (input->is_string()) {
    chat.messages.push_back({{"role", "user"}, {"content", *input}});
  } else if (input->is_array() && !input->empty()) {
    InputReader reader(&chat.messages);
    for (size_t i = 0; i < input->size(); ++i) {
      reader.read((*input)[i], fmt::format("input[{}]", i));
    }
  } else {
    refuse("input", "'input' must be a string or an array of at least one item");
  }
  if (chat.messages.empty()) refuse("input", "'input' holds no message");
  read_tools(fields, &chat);
  if (const auto reasoning = fields.object("reasoning")) {
    if (auto effort = reasoning->string("effort")) {
      chat.thinking = read_effort(*effort, "reasoning.effort");
    }
  }
  read_thinking_budget(fields, &chat);
  read_template_variables(fields, &chat);
  request.prompt = std::move(chat);
  request.sampling = read_sampling(fields);
  request.format = read_format(fields);
  request.max_tokens = fields.integer("max_output_tokens", 1, kMaxTokens).value_or(-1);
  request.stream = fields.boolean("stream").value_or(false);
  for (const std::string& include : fields.strings("include")) {
    if (include == "message.output_text.logprobs") request.logprobs = 0;
  }
  if (const auto top = fields.integer("top_logprobs", 0, 20)) {
    request.logprobs = static_cast<int>(*top);
  }
  const std::pair<const char*, Json> repeated[] = {{"instructions", nullptr},
                                                   {"max_output_tokens", nullptr},
                                                   {"metadata", Json::object()},
                                                   {"parallel_tool_calls", true},
                                                   {"reasoning", nullptr},
                                                   {"temperature", nullptr},
                                                   {"text", nullptr},
                                                   {"tool_choice", "auto"},
                                                   {"tools", Json::array()},
                                                   {"top_p", nullptr}};
  for (const auto& [name, otherwise] : repeated) {
    const Json* given = fields.find(name);
    out.echo[name] = given != nullptr ? *given : otherwise;
  }
  return out;
}

std::unique_ptr<AnswerEncoder> responses_encoder(const ResponsesRequest& request, AnswerName name) {
  return std::make_unique<ResponsesEncoder>(request, std::move(name));
}

}  // namespace flashmoe::server
