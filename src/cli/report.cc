#include "cli/report.h"

#include <fmt/format.h>

#include <vector>

#include "base/format_units.h"

namespace flashmoe::cli {

namespace {

struct Stage {
  const char* name;
  double seconds;  // in which nothing else went on
  uint64_t bytes;  // of weights read from memory or disk; 0: not counted
  double busy_s;   // in which these bytes were read; reads go on while something is computed
};

std::vector<Stage> stages(const RunReport& r) {
  const EngineStats& s = r.stats;
  return {{"dense", s.dense_s, s.dense_bytes, s.dense_s},
          {"attention", s.attention_s, 0, 0},
          {"delta_net", s.delta_net_s, 0, 0},
          {"router", s.router_s, 0, 0},
          {"expert_read", s.expert_read_s, s.disk_bytes, s.expert_read_busy_s},
          {"expert_compute", s.expert_compute_s, s.expert_hit_bytes + s.expert_miss_bytes,
           s.expert_compute_s},
          {"sampling", r.generation.sampling_s, 0, 0}};
}

double rate(double amount, double seconds) { return seconds > 0 ? amount / seconds : 0; }

double gigabytes_per_second(const Stage& stage) {
  return rate(static_cast<double>(stage.bytes) / 1e9, stage.busy_s);
}

}  // namespace

double RunReport::prompt_tok_s() const {
  return rate(static_cast<double>(prompt_tokens), generation.prompt_s);
}

double RunReport::generate_tok_s() const {
  // The first token comes from the prompt's last step.
  const double steps = static_cast<double>(generation.tokens.size()) - 1;
  return steps > 0 ? rate(steps, generation.generate_s) : 0;
}

nlohmann::ordered_json report_json(const RunReport& r) {
  nlohmann::ordered_json json;
  json["prompt_tokens"] = r.prompt_tokens;
  json["generated_tokens"] = r.generation.tokens.size();
  json["finish_reason"] = engine::finish_reason_name(r.generation.finish);
  json["load_s"] = r.load_s;
  json["first_token_s"] = r.generation.first_token_s;
  json["prompt_tok_s"] = r.prompt_tok_s();
  json["generate_tok_s"] = r.generate_tok_s();
  json["expert_hits"] = r.stats.expert_hits;
  json["expert_misses"] = r.stats.expert_misses;
  if (r.stats.expert_guesses > 0) {
    json["expert_guesses"] = r.stats.expert_guesses;
    json["expert_right_guesses"] = r.stats.expert_right_guesses;
  }
  json["disk_bytes"] = r.stats.disk_bytes;
  json["peak_rss_bytes"] = r.peak_rss_bytes;
  json["memory_bytes"] = r.plan.budget;
  json["io"] = r.io_name;
  for (const Stage& stage : stages(r)) {
    nlohmann::ordered_json& entry = json["stages"][stage.name];
    entry["seconds"] = stage.seconds;
    if (stage.bytes > 0) {
      entry["bytes"] = stage.bytes;
      entry["gb_s"] = gigabytes_per_second(stage);
    }
  }
  if (r.forecast) {
    json["predicted_prompt_tok_s"] = r.forecast->prompt.tok_s;
    json["predicted_generate_tok_s"] = r.forecast->decode.tok_s;
    json["predicted_hit_rate"] = r.forecast->hit_rate;
  }
  return json;
}

std::string report_text(const RunReport& r) {
  const EngineStats& s = r.stats;
  std::string text;
  const auto line = [&text](std::string content) { text += content + "\n"; };
  line(fmt::format("load          {:8.2f} s", r.load_s));
  line(fmt::format("first token   {:8.2f} s", r.generation.first_token_s));
  line(fmt::format("prompt        {:8.1f} tok/s  ({} tokens)", r.prompt_tok_s(), r.prompt_tokens));
  line(fmt::format("generation    {:8.1f} tok/s  ({} tokens, {})", r.generate_tok_s(),
                   r.generation.tokens.size(), engine::finish_reason_name(r.generation.finish)));
  if (r.forecast) {
    const Forecast& f = *r.forecast;
    line(fmt::format(
        "at most       {:8.1f} tok/s of the prompt ({}), {:.1f} of generation ({}, {:.0f} % hits)",
        f.prompt.tok_s, engine::bound_name(f.prompt.bound), f.decode.tok_s,
        engine::bound_name(f.decode.bound), 100 * f.hit_rate));
  }
  double total = 0;
  for (const Stage& stage : stages(r)) total += stage.seconds;
  for (const Stage& stage : stages(r)) {
    std::string row = fmt::format("  {:<15}{:9.3f} s {:5.1f} %", stage.name, stage.seconds,
                                  100 * rate(stage.seconds, total));
    if (stage.bytes > 0) {
      row += fmt::format("  {:>9}  {:6.2f} GB/s", format_bytes(stage.bytes),
                         gigabytes_per_second(stage));
    }
    line(row);
  }
  const int64_t visits = s.expert_hits + s.expert_misses;
  line(fmt::format("experts       {} hits, {} misses ({:.1f} % hits), {} read from disk ({})",
                   s.expert_hits, s.expert_misses,
                   100 * rate(static_cast<double>(s.expert_hits), static_cast<double>(visits)),
                   format_bytes(s.disk_bytes), r.io_name));
  if (s.expert_guesses > 0) {
    line(fmt::format("look-ahead    {} experts read before they were asked for, {:.0f} % rightly",
                     s.expert_guesses,
                     100 * rate(static_cast<double>(s.expert_right_guesses),
                                static_cast<double>(s.expert_guesses))));
  }
  if (!r.io_reason.empty()) line(fmt::format("reads         {}: {}", r.io_name, r.io_reason));
  line(fmt::format(
      "memory        {} peak of {} budget: {} dense, {} expert cache, {} context, {} other",
      format_bytes(r.peak_rss_bytes), format_bytes(r.plan.budget), format_bytes(r.plan.dense),
      format_bytes(r.plan.cache), format_bytes(r.plan.state),
      format_bytes(r.plan.staging + r.plan.scratch + r.plan.process)));
  return text;
}

}  // namespace flashmoe::cli
