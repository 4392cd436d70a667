#include "server/openai_chat.h"

#include "http/sse.h"
#include "server/openai_fields.h"

namespace flashmoe::server {

namespace {

constexpr int64_t kMaxChoices = 16;
constexpr int64_t kMaxTokens = int64_t{1} << 40;

// An assistant's call: arguments are a string of JSON, as answers have them, or the object itself.
Json read_call(const Json& json, const std::string& path) {
  const Fields fields(json, path);
  const std::string type = fields.string("type").value_or("function");
  const auto function = fields.object("function");
  if (type != "function" || !function) {
    refuse(path, "'{}' must be a call of a function", path);
  }
  const Json* arguments = function->find("arguments");
  Json given = Json::object();
  if (arguments != nullptr) {
    const bool as_it_is = arguments->is_string() || arguments->is_object();
    given = as_it_is ? *arguments : Json(dump(*arguments));
  }
  return {{"id", fields.string("id").value_or("")},
          {"type", "function"},
          {"function", {{"name", function->required_string("name")}, {"arguments", given}}}};
}

Json read_message(const Json& json, const std::string& path) {
  const Fields fields(json, path);
  const std::string role = fields.required_string("role");
  const bool assistant = role == "assistant", tool = role == "tool" || role == "function";
  if (!assistant && !tool && role != "system" && role != "developer" && role != "user") {
    refuse(fields.path_of("role"), "'{}' must be system, developer, user, assistant or tool",
           fields.path_of("role"));
  }
  const Json* calls = assistant ? fields.array("tool_calls") : nullptr;
  const Json* content = fields.find("content");
  if (content == nullptr && !assistant) {
    refuse(fields.path_of("content"), "'{}' is missing", fields.path_of("content"));
  }
  Json message = {
      {"role", tool ? "tool" : role},
      {"content", content == nullptr ? std::string()
                                     : read_text_content(*content, fields.path_of("content"))}};
  if (assistant) {
    for (const char* name : {"reasoning_content", "reasoning"}) {
      if (auto reasoning = fields.string(name)) message["reasoning_content"] = *reasoning;
    }
    if (calls != nullptr && !calls->empty()) {
      Json& list = message["tool_calls"] = Json::array();
      for (size_t i = 0; i < calls->size(); ++i) {
        list.push_back(read_call((*calls)[i], fmt::format("{}.tool_calls[{}]", path, i)));
      }
    }
  }
  if (tool) message["tool_call_id"] = fields.string("tool_call_id").value_or("");
  if (auto name = fields.string("name")) message["name"] = *name;
  return message;
}

Json read_tool(const Json& json, const std::string& path) {
  const Fields fields(json, path);
  const std::string type = fields.string("type").value_or("function");
  const auto function = fields.object("function");
  if (type != "function" || !function) {
    refuse(path, "'{}': only tools of type 'function' are supported", path);
  }
  return function_tool(*function);
}

ToolChoice read_tool_choice(const Fields& fields) {
  ToolChoice choice;
  choice.parallel = fields.boolean("parallel_tool_calls").value_or(true);
  const Json* given = fields.find("tool_choice");
  if (given == nullptr) return choice;
  const std::string path = fields.path_of("tool_choice");
  if (given->is_object()) {
    const Fields object(*given, path);
    if (object.string("type") == "allowed_tools") {
      const auto allowed = object.object("allowed_tools");
      if (!allowed) refuse(path, "'{}.allowed_tools' is missing", path);
      read_allowed_tools(*allowed, "function", &choice);
      return choice;
    }
    const auto function = object.object("function");
    if (!function) refuse(path, "'{}' must name a function", path);
    choice.kind = ToolChoice::kNamed;
    choice.name = function->required_string("name");
  } else if (*given == "none") {
    choice.kind = ToolChoice::kNone;
  } else if (*given == "required") {
    choice.kind = ToolChoice::kRequired;
  } else if (*given != "auto") {
    refuse(path,
           "'{}' must be auto, none, required, {{type: function, function: {{name}}}} or "
           "{{type: allowed_tools, allowed_tools: {{mode, tools}}}}",
           path);
  }
  return choice;
}

Json usage_json(const Usage& usage) {
  return {{"prompt_tokens", usage.prompt_tokens},
          {"completion_tokens", usage.answer_tokens},
          {"total_tokens", usage.total()},
          {"prompt_tokens_details", {{"cached_tokens", usage.cached_tokens}}},
          {"completion_tokens_details", {{"reasoning_tokens", usage.reasoning_tokens}}}};
}

Json call_json(const Call& call) {
  return {{"id", "call_" + call.id},
          {"type", "function"},
          {"function", {{"name", call.name}, {"arguments", call.arguments}}}};
}

class ChatCompletionEncoder final : public AnswerEncoder {
 public:
  ChatCompletionEncoder(const ChatCompletionRequest& request, AnswerName name)
      : choices_(request.request.choices),
        include_usage_(request.include_usage),
        logprobs_(request.logprobs),
        name_(std::move(name)) {}

  Json whole(const Answer& answer) override {
    Json json = head("chat.completion");
    Json& choices = json["choices"] = Json::array();
    for (size_t i = 0; i < answer.choices.size(); ++i) {
      const Choice& choice = answer.choices[i];
      Json message = {{"role", "assistant"}};
      const bool only_calls = choice.text.empty() && !choice.calls.empty();
      message["content"] = only_calls ? Json(nullptr) : Json(choice.text);
      message["refusal"] = nullptr;
      if (!choice.reasoning.empty()) message["reasoning_content"] = choice.reasoning;
      for (const Call& call : choice.calls) message["tool_calls"].push_back(call_json(call));
      choices.push_back({{"index", i},
                         {"message", std::move(message)},
                         {"logprobs", logprobs_json(choice.logprobs)},
                         {"finish_reason", openai_finish(choice.finish)}});
    }
    json["usage"] = usage_json(answer.usage);
    return json;
  }

  std::string begin(int64_t) override {
    std::string text;
    for (int i = 0; i < choices_; ++i) {
      text += chunk(i, {{"role", "assistant"}, {"content", ""}});
    }
    return text;
  }

  std::string event(const Event& event) override {
    switch (event.kind) {
      case Event::kReasoning:
        return chunk(event.choice, {{"reasoning_content", event.text}});
      case Event::kText:
        return chunk(event.choice, {{"content", event.text}}, nullptr,
                     logprobs_json(event.logprobs));
      case Event::kToolCall: {
        Json call = call_json({event.id, event.text, ""});
        call["index"] = event.tool;
        return chunk(event.choice, {{"tool_calls", Json::array({std::move(call)})}});
      }
      case Event::kToolArguments: {
        Json call = {{"index", event.tool}, {"function", {{"arguments", event.text}}}};
        return chunk(event.choice, {{"tool_calls", Json::array({std::move(call)})}});
      }
      case Event::kEnd:
        break;
    }
    return chunk(event.choice, Json::object(), openai_finish(event.finish));
  }

  std::string end(const Answer& answer) override {
    std::string text;
    if (include_usage_) {
      Json json = head("chat.completion.chunk");
      json["choices"] = Json::array();
      json["usage"] = usage_json(answer.usage);
      text += http::sse_text(dump(json));
    }
    return text + http::sse_text("[DONE]");
  }

  std::string error(const ApiError& error) override {
    return http::sse_text(dump(openai_error(error)));
  }

  Json error_body(const ApiError& error) override { return openai_error(error); }

 private:
  Json head(const char* object) const {
    return {{"id", "chatcmpl-" + name_.id},
            {"object", object},
            {"created", name_.created_s},
            {"model", name_.model}};
  }
  Json logprobs_json(const std::vector<TokenLogprobs>& logprobs) const {
    if (!logprobs_) return nullptr;
    return {{"content", openai_logprobs(logprobs)}, {"refusal", nullptr}};
  }
  std::string chunk(int choice, Json delta, Json finish = nullptr, Json logprobs = nullptr) const {
    Json json = head("chat.completion.chunk");
    Json one = {{"index", choice},
                {"delta", std::move(delta)},
                {"logprobs", std::move(logprobs)},
                {"finish_reason", std::move(finish)}};
    json["choices"] = Json::array({std::move(one)});
    if (include_usage_) json["usage"] = nullptr;
    return http::sse_text(dump(json));
  }

  const int choices_;
  const bool include_usage_, logprobs_;
  const AnswerName name_;
};

}  // namespace

Chat read_openai_chat(const Fields& fields) {
  Chat chat;
  const Json* messages = fields.array("messages");
  if (messages == nullptr || messages->empty()) {
    refuse("messages", "'messages' must be an array of at least one message");
  }
  for (size_t i = 0; i < messages->size(); ++i) {
    add_message(&chat.messages, read_message((*messages)[i], fmt::format("messages[{}]", i)));
  }
  if (const Json* tools = fields.array("tools")) {
    for (size_t i = 0; i < tools->size(); ++i) {
      chat.tools.push_back(read_tool((*tools)[i], fmt::format("tools[{}]", i)));
    }
  }
  chat.tool_choice = read_tool_choice(fields);
  if (auto effort = fields.string("reasoning_effort")) {
    chat.thinking = read_effort(*effort, "reasoning_effort");
  }
  read_thinking_budget(fields, &chat);
  read_template_variables(fields, &chat);
  return chat;
}

ChatCompletionRequest read_chat_completion(const Json& body) {
  const Fields fields(body);
  ChatCompletionRequest out;
  Request& request = out.request;
  fields.string("model");
  request.prompt = read_openai_chat(fields);
  request.sampling = read_sampling(fields);
  request.format = read_response_format(fields);
  request.stop = read_stop(fields, "stop");
  for (const char* name : {"max_tokens", "max_completion_tokens"}) {
    request.max_tokens = fields.integer(name, 1, kMaxTokens).value_or(request.max_tokens);
  }
  request.choices = static_cast<int>(fields.integer("n", 1, kMaxChoices).value_or(1));
  out.logprobs = fields.boolean("logprobs").value_or(false);
  const auto top = fields.integer("top_logprobs", 0, 20);
  if (top && !out.logprobs) refuse("top_logprobs", "'top_logprobs' needs 'logprobs': true");
  if (out.logprobs) request.logprobs = static_cast<int>(top.value_or(0));
  request.stream = fields.boolean("stream").value_or(false);
  const auto stream_options = fields.object("stream_options");
  if (stream_options && !request.stream) {
    refuse("stream_options", "'stream_options' needs 'stream': true");
  }
  if (stream_options) {
    out.include_usage = stream_options->boolean("include_usage").value_or(false);
  }
  for (const std::string& modality : fields.strings("modalities")) {
    if (modality != "text") {
      refuse("modalities", "'modalities': '{}' is not supported; only text is", modality);
    }
  }
  return out;
}

std::unique_ptr<AnswerEncoder> chat_completion_encoder(const ChatCompletionRequest& request,
                                                       AnswerName name) {
  return std::make_unique<ChatCompletionEncoder>(request, std::move(name));
}

}  // namespace flashmoe::server
