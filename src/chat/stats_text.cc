#include "chat/stats_text.h"

#include <fmt/format.h>

#include "base/format_units.h"

namespace flashmoe::chat {

namespace {

constexpr size_t kMostSessions = 30;

std::string bytes(const Json& json) { return format_bytes(json.get<uint64_t>()); }

}  // namespace

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

}  // namespace flashmoe::chat
