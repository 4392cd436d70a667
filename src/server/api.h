// The API: routes, who may ask, and requests on their way to answers. Owns the workers and the
// generator; engine, text model and batcher are the caller's. Knows exchanges, not where they come
// from: a socket, or this process.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "engine/batcher.h"
#include "engine/text_model.h"
#include "flashmoe/engine.h"
#include "http/server.h"
#include "server/access.h"

namespace flashmoe::server {

struct ApiOptions {
  std::string model_name;  // as answers and /v1/models say it
  AccessRules access;
  double timeout_s = 0;  // of a whole answer; 0: none
  // For /stats and /metrics; empty where there are no sockets.
  std::function<http::ServerStats()> http_stats = {};
};

class Api {
 public:
  // What is referred to must outlive this; but shut the batcher down before this goes, as its
  // answers are told to this.
  Api(Engine& engine, const engine::TextModel& text, engine::Batcher& batcher, ApiOptions options);
  ~Api();

  // An http::Handler.
  void handle(std::shared_ptr<http::Exchange> exchange);
  // From now on /health says that the server is going.
  void wind_up();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

// What a request that never became one gets; for http::ServerOptions.
http::Response transport_error(int status, const std::string& message);

}  // namespace flashmoe::server
