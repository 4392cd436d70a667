// flashmoe top: what a server does, live in a terminal, or once.
#include <fmt/format.h>
#include <unistd.h>

#include <chrono>
#include <nlohmann/json.hpp>
#include <string>
#include <thread>

#include "base/error.h"
#include "base/format_units.h"
#include "base/stop_signal.h"
#include "cli/commands.h"
#include "http/client.h"

namespace flashmoe::cli {

namespace {

using Json = nlohmann::ordered_json;

constexpr std::chrono::milliseconds kLookForSignal{50};
constexpr size_t kMostSessions = 30;

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

std::string bytes(const Json& json) { return format_bytes(json.get<uint64_t>()); }

std::string stats_text(const Json& s) {
  std::string text;
  const auto line = [&text](std::string content) { text += content + "\n"; };
  line(fmt::format("{}   up {:.0f} s   context {}   reads by {}",
                   s["model"]["name"].get<std::string>(), s["uptime_s"].get<double>(),
                   s["model"]["context"].get<int64_t>(), s["model"]["io"].get<std::string>()));
  line(fmt::format("speed     {:8.1f} tok/s generated, {:.1f} tok/s of prompts",
                   s["generated_tok_s"].get<double>(), s["prompt_tok_s"].get<double>()));
  line(fmt::format("experts   {:8.1f} % hits of late, {:.1f} % in all; {:.2f} GB/s from disk",
                   100 * s["hit_rate"].get<double>(), 100 * s["experts"]["hit_rate"].get<double>(),
                   s["disk_gb_s"].get<double>()));
  line(fmt::format("memory    {:>10} of {} budget: {} experts, {} dense, {} context",
                   bytes(s["memory"]["rss_bytes"]), bytes(s["memory"]["budget_bytes"]),
                   bytes(s["memory"]["cache_bytes"]), bytes(s["memory"]["dense_bytes"]),
                   bytes(s["memory"]["state_bytes"])));
  const Json& queue = s["queue"];
  const Json& requests = s["requests"];
  line(fmt::format("queue     {:8} waiting, {} in their prompts, {} answering, {} places",
                   queue["waiting"].get<int>(), queue["prompting"].get<int>(),
                   queue["answering"].get<int>(), queue["places"].get<int>()));
  line(fmt::format("requests  {:8} finished, {} cancelled, {} failed, {} refused; {} connections",
                   requests["finished"].get<int64_t>(), requests["cancelled"].get<int64_t>(),
                   requests["failed"].get<int64_t>(), requests["refused"].get<int64_t>(),
                   s["http"]["connections"].get<int>()));
  const Json& tokens = s["tokens"];
  line(fmt::format("tokens    {:8} generated, {} of prompts run, {} found in the prefix cache",
                   tokens["generated"].get<int64_t>(), tokens["prompt"].get<int64_t>(),
                   tokens["cached"].get<int64_t>()));
  const Json& sessions = s["sessions"];
  if (sessions.empty()) return text;
  line(fmt::format("\n{:<26}{:<13}{:<8}{:>8}{:>16}{:>9}{:>8}", "id", "api", "state", "age s",
                   "prompt", "answer", "tok/s"));
  for (size_t i = 0; i < sessions.size() && i < kMostSessions; ++i) {
    const Json& one = sessions[i];
    line(fmt::format("{:<26}{:<13}{:<8}{:>8.1f}{:>16}{:>9}{:>8.1f}", one["id"].get<std::string>(),
                     one["api"].get<std::string>(), one["state"].get<std::string>(),
                     one["age_s"].get<double>(),
                     fmt::format("{}/{}", one["done_prompt_tokens"].get<int64_t>(),
                                 one["prompt_tokens"].get<int64_t>()),
                     one["answer_tokens"].get<int64_t>(), one["answer_tok_s"].get<double>()));
  }
  if (sessions.size() > kMostSessions) {
    line(fmt::format("and {} more", sessions.size() - kMostSessions));
  }
  return text;
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
               o.json ? stats.dump() + "\n" : stats_text(stats));
    flush_output();
    const auto next = std::chrono::steady_clock::now() + std::chrono::duration<double>(o.every_s);
    while (live && !stop_requested() && std::chrono::steady_clock::now() < next) {
      std::this_thread::sleep_for(kLookForSignal);
    }
  } while (live && !stop_requested());
  return 0;
}

}  // namespace flashmoe::cli
