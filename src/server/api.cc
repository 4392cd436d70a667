#include "server/api.h"

#include <atomic>
#include <chrono>
#include <utility>
#include <vector>

#include <fmt/chrono.h>

#include "base/log.h"
#include "base/memory_info.h"
#include "server/answer_sinks.h"
#include "server/anthropic.h"
#include "server/generator.h"
#include "server/openai_chat.h"
#include "server/openai_completions.h"
#include "server/openai_fields.h"
#include "server/openai_responses.h"
#include "server/pages.h"
#include "server/status.h"
#include "server/tokenization.h"
#include "server/workers.h"

namespace flashmoe::server {

namespace {

using ExchangePtr = std::shared_ptr<http::Exchange>;

constexpr int kWorkers = 2;
// Of the bodies of requests that wait to be read; how many may wait to be answered is the
// batcher's.
constexpr size_t kMaxUnreadBytes = size_t{128} << 20;

int64_t unix_time_s() {
  return std::chrono::duration_cast<std::chrono::seconds>(
             std::chrono::system_clock::now().time_since_epoch())
      .count();
}

bool speaks_anthropic(const http::Request& request) {
  return request.path.starts_with("/v1/messages") ||
         http::find_header(request.headers, "anthropic-version") != nullptr;
}

Json error_body(const http::Request& request, const ApiError& error) {
  return speaks_anthropic(request) ? anthropic_error(error) : openai_error(error);
}

http::Response json_response(const Json& json) { return {200, "application/json", dump(json)}; }

}  // namespace

struct Api::Impl {
  Impl(Engine& engine, const engine::TextModel& text, engine::Batcher& batcher, ApiOptions options)
      : engine(engine),
        text(text),
        batcher(batcher),
        options(std::move(options)),
        generator(engine, text, batcher, {this->options.timeout_s}),
        workers(kWorkers, kMaxUnreadBytes) {}

  // How a route answers: at once, or, where the body has to be read, on a worker.
  struct Route {
    const char* method;
    const char* path;  // exactly, or a beginning if it ends in '/' and is not "/"
    bool needs_key;
    http::Response (Impl::*at_once)(const http::Request&);
    void (Impl::*on_worker)(const ExchangePtr&);
  };
  static const std::vector<Route>& routes();
  const Route* find_route(const std::string& method, const std::string& path,
                          std::string* allowed) const;

  void handle(ExchangePtr exchange);
  void answer(const ExchangePtr& exchange, http::Response response) const;
  void answer_error(const ExchangePtr& exchange, const ApiError& error) const;
  void run(const ExchangePtr& exchange, const Request& request, const char* api, AnswerName name,
           std::unique_ptr<AnswerEncoder> encoder);
  AnswerName new_name() const { return {options.model_name, random_id(), unix_time_s()}; }
  Json model_json() const;
  Figures figures() const;

  // The routes.
  http::Response index(const http::Request&) { return index_page(); }
  http::Response openapi(const http::Request&) { return openapi_page(); }
  http::Response health(const http::Request&);
  http::Response models(const http::Request&);
  http::Response model(const http::Request& request);
  http::Response stats(const http::Request&) { return json_response(stats_json(figures())); }
  http::Response stats_experts(const http::Request&) {
    return json_response(expert_map_json(*batcher.expert_map()));
  }
  http::Response metrics(const http::Request&) {
    return {200, "text/plain; version=0.0.4; charset=utf-8", metrics_text(figures())};
  }
  void chat_completions(const ExchangePtr& exchange);
  void completions(const ExchangePtr& exchange);
  void responses(const ExchangePtr& exchange);
  void messages(const ExchangePtr& exchange);
  void count_tokens(const ExchangePtr& exchange);
  void tokenize(const ExchangePtr& exchange);
  void detokenize(const ExchangePtr& exchange);

  Engine& engine;
  const engine::TextModel& text;
  engine::Batcher& batcher;
  const ApiOptions options;
  const int64_t started_s = unix_time_s();
  std::atomic<bool> going{false};
  Generator generator;
  Workers workers;  // last: its tasks use all of the above
};

const std::vector<Api::Impl::Route>& Api::Impl::routes() {
  static const std::vector<Route> routes = {
      {"GET", "/", false, &Impl::index, nullptr},
      {"GET", "/openapi.json", false, &Impl::openapi, nullptr},
      {"GET", "/health", false, &Impl::health, nullptr},
      {"GET", "/metrics", true, &Impl::metrics, nullptr},
      {"GET", "/stats", true, &Impl::stats, nullptr},
      {"GET", "/stats/experts", true, &Impl::stats_experts, nullptr},
      {"GET", "/v1/models", true, &Impl::models, nullptr},
      {"GET", "/v1/models/", true, &Impl::model, nullptr},
      {"POST", "/v1/chat/completions", true, nullptr, &Impl::chat_completions},
      {"POST", "/v1/completions", true, nullptr, &Impl::completions},
      {"POST", "/v1/responses", true, nullptr, &Impl::responses},
      {"POST", "/v1/messages", true, nullptr, &Impl::messages},
      {"POST", "/v1/messages/count_tokens", true, nullptr, &Impl::count_tokens},
      {"POST", "/tokenize", true, nullptr, &Impl::tokenize},
      {"POST", "/detokenize", true, nullptr, &Impl::detokenize},
  };
  return routes;
}

// nullptr: there is none; `allowed` is then the method that the path has, if any.
const Api::Impl::Route* Api::Impl::find_route(const std::string& method, const std::string& path,
                                              std::string* allowed) const {
  const std::string wanted = method == "HEAD" ? "GET" : method;
  for (const Route& route : routes()) {
    const std::string_view pattern = route.path;
    const bool prefix = pattern.size() > 1 && pattern.ends_with('/');
    if (prefix ? !(path.starts_with(pattern) && path.size() > pattern.size()) : path != pattern) {
      continue;
    }
    if (wanted == route.method) return &route;
    *allowed = route.method;
  }
  return nullptr;
}

void Api::Impl::handle(ExchangePtr exchange) {
  const http::Request& request = exchange->request();
  if (auto error = check_origin(request, options.access)) {
    answer_error(exchange, *error);
    return;
  }
  if (request.method == "OPTIONS") {
    exchange->respond(preflight_response(request, options.access));
    return;
  }
  std::string allowed;
  const Route* route = find_route(request.method, request.path, &allowed);
  if (route == nullptr && allowed.empty()) {
    answer_error(exchange,
                 {404, "there is nothing at '" + request.path + "'; /openapi.json lists what is"});
    return;
  }
  if (route == nullptr) {
    const ApiError error(405, request.path + " takes " + allowed + ", not " + request.method);
    http::Response response = error_response(error, error_body(request, error), {});
    response.headers.emplace_back("allow", allowed == "GET" ? "GET, HEAD" : allowed);
    answer(exchange, std::move(response));
    return;
  }
  if (route->needs_key) {
    if (auto error = check_key(request, options.access)) {
      answer_error(exchange, *error);
      return;
    }
  }
  if (route->at_once != nullptr) {
    answer(exchange, (this->*route->at_once)(request));
    return;
  }
  const auto task = [this, exchange, on_worker = route->on_worker] {
    try {
      (this->*on_worker)(exchange);
    } catch (const ApiError& error) {
      answer_error(exchange, error);
    } catch (const Error& error) {
      answer_error(exchange, api_error(error));
    } catch (const std::exception& error) {  // the standard library's: out of memory
      log_warn("{} failed: {}", exchange->request().path, error.what());
      answer_error(exchange, {500, error.what()});
    }
  };
  if (!workers.post(request.body.size(), task)) {
    answer_error(exchange, {429, "too many requests wait to be read; try again in a moment"});
  }
}

void Api::Impl::answer(const ExchangePtr& exchange, http::Response response) const {
  for (http::Header& header : cors_headers(options.access)) {
    response.headers.push_back(std::move(header));
  }
  exchange->respond(std::move(response));
}

void Api::Impl::answer_error(const ExchangePtr& exchange, const ApiError& error) const {
  answer(exchange, error_response(error, error_body(exchange->request(), error), {}));
}

void Api::Impl::run(const ExchangePtr& exchange, const Request& request, const char* api,
                    AnswerName name, std::unique_ptr<AnswerEncoder> encoder) {
  std::vector<http::Header> headers = cors_headers(options.access);
  // As OpenAI's clients look for it, and as Anthropic's do.
  for (const char* header : {"x-request-id", "request-id"}) headers.emplace_back(header, name.id);
  std::shared_ptr<AnswerSink> sink =
      request.stream ? stream_answer_sink(exchange, std::move(encoder), std::move(headers))
                     : whole_answer_sink(exchange, std::move(encoder), std::move(headers));
  const std::shared_ptr<Run> run = generator.start(request, name.id, api, std::move(sink));
  exchange->on_cancel([weak = std::weak_ptr(run)] {
    if (const auto held = weak.lock()) held->cancel();
  });
}

http::Response Api::Impl::health(const http::Request& request) {
  if (!going) return json_response({{"status", "ok"}});
  const ApiError error(503, "the server is shutting down");
  return error_response(error, error_body(request, error), {});
}

Json Api::Impl::model_json() const {
  return {{"id", options.model_name},
          {"object", "model"},
          {"created", started_s},
          {"owned_by", "flashmoe"},
          {"type", "model"},
          {"display_name", options.model_name},
          {"created_at", fmt::format("{:%Y-%m-%dT%H:%M:%SZ}", fmt::gmtime(started_s))},
          {"max_model_len", engine.context()}};
}

http::Response Api::Impl::models(const http::Request&) {
  return json_response({{"object", "list"},
                        {"data", Json::array({model_json()})},
                        {"has_more", false},
                        {"first_id", options.model_name},
                        {"last_id", options.model_name}});
}

http::Response Api::Impl::model(const http::Request& request) {
  const std::string name = request.path.substr(std::string("/v1/models/").size());
  if (name == options.model_name) return json_response(model_json());
  const ApiError error(
      404, "there is no model '" + name + "'; there is '" + options.model_name + "'", "model");
  return error_response(error, error_body(request, error), {});
}

Figures Api::Impl::figures() const {
  Figures f;
  f.model_name = options.model_name;
  f.engine = &engine;
  f.batcher = batcher.stats();
  f.runs = generator.runs();
  if (options.http_stats) f.http = options.http_stats();
  f.rss_bytes = rss_bytes();
  f.peak_rss_bytes = peak_rss_bytes();
  return f;
}

void Api::Impl::chat_completions(const ExchangePtr& exchange) {
  const auto request = read_chat_completion(parse_object(exchange->request().body));
  AnswerName name = new_name();
  auto encoder = chat_completion_encoder(request, name);
  run(exchange, request.request, "chat", std::move(name), std::move(encoder));
}

void Api::Impl::completions(const ExchangePtr& exchange) {
  const auto request = read_completion(parse_object(exchange->request().body));
  AnswerName name = new_name();
  std::vector<std::string> prompts;
  for (const auto& prompt : std::get<PlainPrompts>(request.request.prompt).prompts) {
    const auto* words = std::get_if<std::string>(&prompt);
    prompts.push_back(!request.echo ? ""
                      : words != nullptr
                          ? *words
                          : text.tokenizer().decode(std::get<std::vector<int32_t>>(prompt), false));
  }
  auto encoder = completion_encoder(request, std::move(prompts), name);
  run(exchange, request.request, "completions", std::move(name), std::move(encoder));
}

void Api::Impl::responses(const ExchangePtr& exchange) {
  const auto request = read_responses(parse_object(exchange->request().body));
  AnswerName name = new_name();
  auto encoder = responses_encoder(request, name);
  run(exchange, request.request, "responses", std::move(name), std::move(encoder));
}

void Api::Impl::messages(const ExchangePtr& exchange) {
  const Request request = read_messages(parse_object(exchange->request().body));
  AnswerName name = new_name();
  auto encoder = messages_encoder(name);
  run(exchange, request, "messages", std::move(name), std::move(encoder));
}

void Api::Impl::count_tokens(const ExchangePtr& exchange) {
  const Request request = read_messages(parse_object(exchange->request().body), false);
  const size_t count = generator.encode(std::get<Chat>(request.prompt)).size();
  answer(exchange, json_response({{"input_tokens", count}}));
}

void Api::Impl::tokenize(const ExchangePtr& exchange) {
  const TokenizeRequest request = read_tokenize(parse_object(exchange->request().body));
  const std::vector<int32_t> tokens = request.chat
                                          ? generator.encode(*request.chat)
                                          : text.encode_text(request.text, request.parse_special);
  Json json = {{"tokens", tokens}, {"count", tokens.size()}, {"max_model_len", engine.context()}};
  if (request.pieces) json["pieces"] = pieces_json(text.tokenizer(), tokens);
  answer(exchange, json_response(json));
}

void Api::Impl::detokenize(const ExchangePtr& exchange) {
  const DetokenizeRequest request =
      read_detokenize(parse_object(exchange->request().body), engine.vocab());
  const std::string words = text.tokenizer().decode(request.tokens, request.skip_special);
  answer(exchange, json_response({{"text", words}, {"content", words}, {"prompt", words}}));
}

Api::Api(Engine& engine, const engine::TextModel& text, engine::Batcher& batcher,
         ApiOptions options)
    : impl_(std::make_unique<Impl>(engine, text, batcher, std::move(options))) {}

Api::~Api() = default;

void Api::handle(std::shared_ptr<http::Exchange> exchange) { impl_->handle(std::move(exchange)); }

void Api::wind_up() { impl_->going = true; }

http::Response transport_error(int status, const std::string& message) {
  const ApiError error(status, message);
  Json body = openai_error(error);
  body["type"] = "error";  // so that clients of either API find what they look for
  return error_response(error, body, {});
}

}  // namespace flashmoe::server
