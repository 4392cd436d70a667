// The whole server on a free port of this machine, with the embedded model. Owns all of it.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "engine/batcher.h"
#include "engine/text_model.h"
#include "flashmoe/engine.h"
#include "http/client.h"
#include "http/server.h"
#include "server/api.h"
#include "server/json_fields.h"

namespace flashmoe::server {

struct TestServerOptions {
  int places = 4;
  int max_queued = 256;
  AccessRules access = {};
  double timeout_s = 0;
  http::ServerOptions http = {};
  std::string template_path = {};  // empty: the embedded model's
};

class TestServer {
 public:
  explicit TestServer(const TestServerOptions& options = {});
  ~TestServer();

  int port() const { return http_->port(); }
  const engine::TextModel& text() const { return text_; }
  engine::Batcher& batcher() { return *batcher_; }

  http::Response get(const std::string& path, std::vector<http::Header> headers = {}) const;
  http::Response post(const std::string& path, const Json& body,
                      std::vector<http::Header> headers = {}) const;
  // The JSON of an answer with status 200.
  Json ask(const std::string& path, const Json& body) const;
  // The data of the events of a stream; "[DONE]" as a string.
  std::vector<Json> stream(const std::string& path, Json body) const;
  // Waits until nothing runs or waits any more.
  void wait_until_idle();

 private:
  engine::TextModel text_;
  std::unique_ptr<Engine> engine_;
  std::unique_ptr<engine::Batcher> batcher_;
  std::unique_ptr<Api> api_;
  std::unique_ptr<http::Server> http_;
};

// {"messages": [{"role": "user", "content": prompt}], "temperature": 0, "max_tokens": max_tokens}
Json chat_body(const std::string& prompt, int max_tokens);

}  // namespace flashmoe::server
