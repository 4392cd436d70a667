#include "tests/server/test_server.h"

#include <gtest/gtest.h>

#include <chrono>
#include <thread>

namespace flashmoe::server {

namespace {
std::string tiny_model() { return std::string(FLASHMOE_SOURCE_DIR) + "/models/tiny"; }
}  // namespace

TestServer::TestServer(const TestServerOptions& options)
    : text_(tiny_model(), options.template_path) {
  EngineOptions engine_options;
  engine_options.model = tiny_model();
  engine_options.memory_bytes = uint64_t{1} << 30;
  engine_options.max_sequences = options.places;
  engine_options.context = 2048;
  engine_options.threads = 2;
  engine_options.prefix_cache_bytes = uint64_t{64} << 20;
  engine_ = Engine::open(engine_options);
  engine::BatcherOptions batching;
  batching.max_queued = options.max_queued;
  batcher_ = std::make_unique<engine::Batcher>(*engine_, batching);
  ApiOptions api_options;
  api_options.model_name = "tiny";
  api_options.access = options.access;
  api_options.timeout_s = options.timeout_s;
  api_options.http_stats = [this] { return http_->stats(); };
  api_ = std::make_unique<Api>(*engine_, text_, *batcher_, api_options);
  http::ServerOptions http_options = options.http;
  http_options.port = 0;
  http_options.error_response = transport_error;
  http_ = std::make_unique<http::Server>(
      http_options, [this](std::shared_ptr<http::Exchange> e) { api_->handle(std::move(e)); });
}

TestServer::~TestServer() {
  http_->shut_down(std::chrono::milliseconds(0));
  batcher_->shutdown(false);
}

http::Response TestServer::get(const std::string& path, std::vector<http::Header> headers) const {
  return http::Client({"127.0.0.1", std::to_string(port()), ""})
      .send({"GET", path, "", std::move(headers)});
}

http::Response TestServer::post(const std::string& path, const Json& body,
                                std::vector<http::Header> headers) const {
  return http::Client({"127.0.0.1", std::to_string(port()), ""})
      .send({"POST", path, dump(body), std::move(headers)});
}

Json TestServer::ask(const std::string& path, const Json& body) const {
  const http::Response response = post(path, body);
  EXPECT_EQ(response.status, 200) << response.body;
  EXPECT_EQ(response.content_type, "application/json");
  return Json::parse(response.body, nullptr, false);
}

std::vector<Json> TestServer::stream(const std::string& path, Json body) const {
  body["stream"] = true;
  std::vector<Json> events;
  const http::Response response =
      http::Client({"127.0.0.1", std::to_string(port()), ""})
          .stream({"POST", path, dump(body), {}}, [&](const http::SseEvent& event) {
            events.push_back(event.data == "[DONE]" ? Json("[DONE]")
                                                    : Json::parse(event.data, nullptr, false));
            return true;
          });
  EXPECT_EQ(response.status, 200) << response.body;
  return events;
}

void TestServer::wait_until_idle() {
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(30);
  while (std::chrono::steady_clock::now() < end) {
    const engine::BatcherStats stats = batcher_->stats();
    if (stats.queued + stats.prompting + stats.answering == 0) return;
    std::this_thread::yield();
  }
  ADD_FAILURE() << "something still runs after 30 s";
}

Json chat_body(const std::string& prompt, int max_tokens) {
  Json message = {{"role", "user"}, {"content", prompt}};
  return {{"messages", Json::array({message})}, {"temperature", 0}, {"max_tokens", max_tokens}};
}

}  // namespace flashmoe::server
