// flashmoe serve: the API over HTTP, until it is told to stop.
#include <fmt/format.h>

#include <atomic>
#include <chrono>
#include <cstdio>
#include <memory>
#include <string>
#include <thread>

#include "base/error.h"
#include "base/log.h"
#include "base/stop_signal.h"
#include "cli/commands.h"
#include "cli/locate.h"
#include "cli/open_engine.h"
#include "engine/batcher.h"
#include "engine/text_model.h"
#include "http/server.h"
#include "server/api.h"

namespace flashmoe::cli {

namespace {

// How long answers that run may go on after a signal.
constexpr std::chrono::milliseconds kPatience{3'000};
constexpr std::chrono::milliseconds kLookForSignal{50};

bool is_local(const std::string& host) {
  return host == "localhost" || host == "::1" || host.starts_with("127.");
}

}  // namespace

int serve(const ServeOptions& o) {
  install_stop_signal();
  const std::string folder = model_folder(o.model.model);
  const engine::TextModel text(folder, o.model.template_path);
  for (const std::string& note : text.notes()) log_info("note: {}", note);
  const std::unique_ptr<Engine> engine = open_engine(o.model, folder);

  engine::BatcherOptions batching;
  batching.max_queued = o.max_queue;
  batching.max_wait_s = o.timeout_s;
  batching.cache_dir = o.cache_dir;
  batching.cache_dir_bytes = o.cache_dir_bytes;
  engine::Batcher batcher(*engine, batching);

  http::ServerOptions http;
  http.host = o.host;
  http.port = o.port;
  http.max_connections = o.max_connections;
  http.max_body_bytes = o.max_body_bytes;
  http.error_response = server::transport_error;

  server::ApiOptions api_options;
  api_options.model_name =
      o.model_name.empty() ? display_name(o.model.model, folder) : o.model_name;
  api_options.access = {o.api_key, o.cors, is_local(o.host)};
  api_options.timeout_s = o.timeout_s;
  std::atomic<const http::Server*> listening{nullptr};
  api_options.http_stats = [&listening] {
    const http::Server* server = listening;
    return server != nullptr ? server->stats() : http::ServerStats{};
  };
  server::Api api(*engine, text, batcher, api_options);

  {
    http::Server server(
        http, [&](std::shared_ptr<http::Exchange> exchange) { api.handle(std::move(exchange)); });
    listening = &server;
    const bool v6 = o.host.find(':') != std::string::npos;
    fmt::print("listening on http://{}:{}\n", v6 ? "[" + o.host + "]" : o.host, server.port());
    flush_output();
    while (!stop_requested()) std::this_thread::sleep_for(kLookForSignal);
    log_info("stopping");
    api.wind_up();
    server.shut_down(kPatience);
  }
  batcher.shutdown(false);
  return 0;
}

}  // namespace flashmoe::cli
