#include "server/openai_completions.h"

#include <algorithm>

#include "http/sse.h"
#include "server/openai_fields.h"
#include "text/utf8.h"

namespace flashmoe::server {

namespace {

constexpr size_t kMaxPrompts = 64;
constexpr int64_t kMaxChoices = 16;
constexpr int64_t kDefaultTokens = 16;  // OpenAI's
constexpr int64_t kMaxTokens = int64_t{1} << 40;

std::vector<int32_t> read_tokens(const Json& list) {
  std::vector<int32_t> tokens;
  for (const Json& token : list) {
    const bool fits = token.is_number_integer() && token.get<int64_t>() >= 0 &&
                      token.get<int64_t>() < (int64_t{1} << 31);
    if (!fits) refuse("prompt", "'prompt' holds {}, which is no token id", dump(token));
    tokens.push_back(token.get<int32_t>());
  }
  return tokens;
}

PlainPrompts read_prompts(const Fields& fields) {
  PlainPrompts out;
  const Json* given = fields.find("prompt");
  if (given == nullptr) refuse("prompt", "'prompt' is missing");
  if (given->is_string()) {
    out.prompts.emplace_back(given->get<std::string>());
  } else if (given->is_array() && !given->empty() && given->front().is_number()) {
    out.prompts.emplace_back(read_tokens(*given));
  } else if (given->is_array() && !given->empty() && given->size() <= kMaxPrompts) {
    for (const Json& one : *given) {
      if (one.is_string()) {
        out.prompts.emplace_back(one.get<std::string>());
      } else if (one.is_array()) {
        out.prompts.emplace_back(read_tokens(one));
      } else {
        refuse("prompt", "'prompt' must hold strings or arrays of token ids");
      }
    }
  } else {
    refuse("prompt", "'prompt' must be a string, token ids, or an array of 1 to {} of these",
           kMaxPrompts);
  }
  out.parse_special = fields.boolean("parse_special").value_or(true);
  return out;
}

Json usage_json(const Usage& usage) {
  return {{"prompt_tokens", usage.prompt_tokens},
          {"completion_tokens", usage.answer_tokens},
          {"total_tokens", usage.total()},
          {"prompt_tokens_details", {{"cached_tokens", usage.cached_tokens}}}};
}

class CompletionEncoder final : public AnswerEncoder {
 public:
  CompletionEncoder(const CompletionRequest& request, std::vector<std::string> prompts,
                    AnswerName name)
      : each_(request.request.choices),
        logprobs_(request.request.logprobs >= 0),
        include_usage_(request.include_usage),
        prompts_(std::move(prompts)),
        name_(std::move(name)) {
    if (!request.echo) prompts_.assign(prompts_.size(), "");
    offsets_.assign(prompts_.size() * static_cast<size_t>(each_), 0);
  }

  Json whole(const Answer& answer) override {
    Json json = head();
    for (size_t i = 0; i < answer.choices.size(); ++i) {
      const Choice& choice = answer.choices[i];
      const int index = static_cast<int>(i);
      json["choices"].push_back(choice_json(index, echoed(index) + choice.text, choice.logprobs,
                                            openai_finish(choice.finish)));
    }
    json["usage"] = usage_json(answer.usage);
    return json;
  }

  std::string begin(int64_t) override {
    std::string text;
    for (size_t i = 0; i < offsets_.size(); ++i) {
      const int index = static_cast<int>(i);
      if (!echoed(index).empty()) text += chunk(index, echoed(index), {}, nullptr);
    }
    return text;
  }

  std::string event(const Event& event) override {
    if (event.kind == Event::kText) return chunk(event.choice, event.text, event.logprobs, nullptr);
    if (event.kind != Event::kEnd) return "";
    return chunk(event.choice, "", {}, openai_finish(event.finish));
  }

  std::string end(const Answer& answer) override {
    std::string text;
    if (include_usage_) {
      Json json = head();
      json["usage"] = usage_json(answer.usage);
      text = http::sse_text(dump(json));
    }
    return text + http::sse_text("[DONE]");
  }

  std::string error(const ApiError& error) override {
    return http::sse_text(dump(openai_error(error)));
  }

  Json error_body(const ApiError& error) override { return openai_error(error); }

 private:
  const std::string& echoed(int choice) const {
    return prompts_[static_cast<size_t>(choice / each_)];
  }
  Json head() const {
    return {{"id", "cmpl-" + name_.id},
            {"object", "text_completion"},
            {"created", name_.created_s},
            {"model", name_.model},
            {"choices", Json::array()}};
  }
  Json choice_json(int index, const std::string& text, const std::vector<TokenLogprobs>& logprobs,
                   Json finish) {
    return {{"index", index},
            {"text", text},
            {"logprobs", logprobs_json(index, logprobs)},
            {"finish_reason", std::move(finish)}};
  }
  std::string chunk(int choice, const std::string& text, const std::vector<TokenLogprobs>& logprobs,
                    Json finish) {
    Json json = head();
    json["choices"].push_back(choice_json(choice, text, logprobs, std::move(finish)));
    if (include_usage_) json["usage"] = nullptr;
    return http::sse_text(dump(json));
  }
  Json logprobs_json(int choice, const std::vector<TokenLogprobs>& logprobs) {
    if (!logprobs_) return nullptr;
    Json json = {{"tokens", Json::array()},
                 {"token_logprobs", Json::array()},
                 {"top_logprobs", Json::array()},
                 {"text_offset", Json::array()}};
    for (const TokenLogprobs& one : logprobs) {
      json["tokens"].push_back(printable(one.chosen.token));
      json["token_logprobs"].push_back(one.known ? Json(one.chosen.logprob) : Json(nullptr));
      json["top_logprobs"].push_back(one.known ? top_json(one) : Json(nullptr));
      size_t& offset = offsets_[static_cast<size_t>(choice)];
      json["text_offset"].push_back(offset);
      offset += characters(one.chosen.token);
    }
    return json;
  }
  // The token itself is always among them.
  static Json top_json(const TokenLogprobs& logprobs) {
    Json top = Json::object();
    for (const Logprob& other : logprobs.top) top[printable(other.token)] = other.logprob;
    top[printable(logprobs.chosen.token)] = logprobs.chosen.logprob;
    return top;
  }
  // Those that begin in it.
  static size_t characters(const std::string& token) {
    return static_cast<size_t>(
        std::ranges::count_if(token, [](char c) { return (c & 0xc0) != 0x80; }));
  }
  // Keys must differ where bytes do.
  static std::string printable(const std::string& token) {
    if (text::utf8_valid_prefix(token) == token.size()) return token;
    std::string text = "bytes:";
    for (const char c : token) text += fmt::format("\\x{:02x}", static_cast<unsigned char>(c));
    return text;
  }

  const int each_;  // choices of a prompt
  const bool logprobs_, include_usage_;
  std::vector<std::string> prompts_;
  std::vector<size_t> offsets_;  // of each choice's next token, in characters
  const AnswerName name_;
};

}  // namespace

CompletionRequest read_completion(const Json& body) {
  const Fields fields(body);
  CompletionRequest out;
  Request& request = out.request;
  fields.string("model");
  request.prompt = read_prompts(fields);
  request.sampling = read_sampling(fields);
  request.stop = read_stop(fields, "stop");
  request.max_tokens = fields.integer("max_tokens", 0, kMaxTokens).value_or(kDefaultTokens);
  request.choices = static_cast<int>(fields.integer("n", 1, kMaxChoices).value_or(1));
  request.logprobs = static_cast<int>(fields.integer("logprobs", 0, 20).value_or(-1));
  request.stream = fields.boolean("stream").value_or(false);
  out.echo = fields.boolean("echo").value_or(false);
  if (out.echo && request.logprobs >= 0) {
    if (request.stream) refuse("echo", "'echo' with 'logprobs' cannot be streamed");
    std::get<PlainPrompts>(request.prompt).logprobs = true;
  }
  if (const auto best_of = fields.integer("best_of", 1, kMaxChoices);
      best_of && *best_of != request.choices) {
    refuse("best_of", "'best_of' is not supported but as the value of 'n'");
  }
  if (!fields.string("suffix").value_or("").empty()) {
    refuse("suffix", "'suffix' is not supported");
  }
  request.format = read_response_format(fields);
  if (const auto options = fields.object("stream_options")) {
    if (!request.stream) refuse("stream_options", "'stream_options' needs 'stream': true");
    out.include_usage = options->boolean("include_usage").value_or(false);
  }
  return out;
}

std::unique_ptr<AnswerEncoder> completion_encoder(const CompletionRequest& request,
                                                  std::vector<std::string> prompts,
                                                  AnswerName name) {
  return std::make_unique<CompletionEncoder>(request, std::move(prompts), std::move(name));
}

}  // namespace flashmoe::server
