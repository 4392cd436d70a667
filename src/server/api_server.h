// The API over HTTP: routes, who may ask, and requests on their way to answers. Owns the HTTP
// server, the workers and the generator; engine, text model and batcher are the caller's.
#pragma once

#include <chrono>
#include <memory>
#include <string>

#include "engine/batcher.h"
#include "engine/text_model.h"
#include "flashmoe/engine.h"
#include "http/server.h"

namespace flashmoe::server {

struct ApiOptions {
  http::ServerOptions http;
  std::string model_name;   // as answers and /v1/models say it
  std::string api_key;      // empty: none is asked for
  std::string cors_origin;  // whose pages in browsers may ask: an origin, "*", or empty for none
  double timeout_s = 0;     // of a whole answer; 0: none
};

class ApiServer {
 public:
  // Answers from now on. What is referred to must outlive the server. Throws Error when the address
  // cannot be had.
  ApiServer(Engine& engine, const engine::TextModel& text, engine::Batcher& batcher,
            ApiOptions options);
  ~ApiServer();

  int port() const;
  // Takes no more requests; lets what runs go on for so long, then cancels it.
  void shut_down(std::chrono::milliseconds patience);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace flashmoe::server
