// flashmoe top: what a server does, live in a terminal, or once.
#include <fmt/format.h>
#include <unistd.h>

#include <chrono>
#include <string>
#include <thread>

#include "base/error.h"
#include "base/stop_signal.h"
#include "chat/stats_text.h"
#include "cli/commands.h"
#include "http/client.h"

namespace flashmoe::cli {

namespace {

using chat::Json;

constexpr std::chrono::milliseconds kLookForSignal{50};

Json fetch_stats(const http::Client& client, const TopOptions& o) {
  http::ClientRequest request{"GET", "/stats"};
  if (!o.api_key.empty()) request.headers.emplace_back("x-api-key", o.api_key);
  const http::Response response = client.send(request);
  Json json = Json::parse(response.body, nullptr, false);
  if (response.status == 401) {
    throw_error(ErrorCode::kUsage, "{}: the server asks for a key; give it by --api-key", o.url);
  }
  if (response.status != 200 || !json.is_object() || !json.contains("queue")) {
    throw_error(ErrorCode::kIo, "{}: this is no flashmoe server (status {})", o.url,
                response.status);
  }
  return json;
}

}  // namespace

int top(const TopOptions& o) {
  install_stop_signal();
  http::Client::Options options;
  options.silence_timeout = std::chrono::seconds(10);
  options.stop = stop_requested;
  const http::Client client(http::parse_url(o.url), options);
  const bool live = !o.json && !o.once && isatty(STDOUT_FILENO) != 0;
  do {
    const Json stats = fetch_stats(client, o);
    // Home, and clear what was there: nothing scrolls or flickers.
    fmt::print("{}{}", live ? "\x1b[H\x1b[J" : "",
               o.json ? stats.dump() + "\n" : chat::stats_text(stats));
    flush_output();
    const auto next = std::chrono::steady_clock::now() + std::chrono::duration<double>(o.every_s);
    while (live && !stop_requested() && std::chrono::steady_clock::now() < next) {
      std::this_thread::sleep_for(kLookForSignal);
    }
  } while (live && !stop_requested());
  return 0;
}

}  // namespace flashmoe::cli
