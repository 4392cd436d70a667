#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <filesystem>

#include "base/format_units.h"
#include "bench/benches.h"

namespace flashmoe::bench {

namespace {

constexpr int64_t kDefaultTokens = 512;

Figures figures_of(const Span& span, const Rig& rig, const char* name) {
  const engine::Workload& work = rig.work();
  const double memory_bytes = static_cast<double>(span.done.dense_bytes + span.expert_bytes());
  const double missed_bytes = static_cast<double>(span.done.expert_miss_bytes);
  // Of the head, only the prompt's last row is wanted.
  const double ops =
      2.0 * (static_cast<double>(work.macs() - work.head_macs) * static_cast<double>(span.tokens) +
             static_cast<double>(work.head_macs));
  const engine::MachineLimits limits = span.limits();
  const engine::Bounded least = engine::least_time(memory_bytes, missed_bytes, ops, limits);
  Figures f;
  f.before = span.before;
  f.figure = span.tok_s();
  f.limit = least.seconds > 0 ? static_cast<double>(span.tokens) / least.seconds : 0;
  const double int8_fraction = limits.int8_ops_s > 0 ? ops / span.seconds / limits.int8_ops_s : 0;
  f.json = span_figures(span);
  f.json["limit_tok_s"] = f.limit;
  f.json["bound"] = engine::bound_name(least.bound);
  f.json["fraction"] = f.fraction();
  f.json["ops_per_token"] = ops / static_cast<double>(span.tokens);
  f.json["int8_ops_s"] = ops / span.seconds;
  f.json["int8_fraction"] = int8_fraction;
  f.json["experts_touched_bytes"] = span.expert_bytes();
  f.json["experts_missed_bytes"] = span.done.expert_miss_bytes;
  f.json["disk_bytes"] = span.process_disk_bytes;
  f.json["steps"] = span.done.steps;
  f.line = fmt::format(
      "{:<9}{:8.1f} tok/s  {:5.1f} % of {:.1f} ({})  {:.0f} Gop/s, {:.1f} % of int8 peak {:.0f}  "
      "experts touched {}, missed {}, from disk {}",
      name, f.figure, 100 * f.fraction(), f.limit, engine::bound_name(least.bound),
      ops / span.seconds / 1e9, 100 * int8_fraction, limits.int8_ops_s / 1e9,
      format_bytes(span.expert_bytes()), format_bytes(span.done.expert_miss_bytes),
      format_bytes(span.process_disk_bytes));
  return f;
}

}  // namespace

Report bench_prefill(const BenchOptions& options) {
  using Clock = std::chrono::steady_clock;
  const int64_t tokens = options.tokens > 0 ? options.tokens : kDefaultTokens;
  Rig rig(options, options.context + tokens);
  // The prompt follows `context` positions that are there already.
  const auto run = [&](bool disk) {
    rig.fill_context(options.context);
    std::vector<int32_t> timeline = rig.session().tokens();
    const std::vector<int32_t> prompt = rig.random_tokens(tokens);
    timeline.insert(timeline.end(), prompt.begin(), prompt.end());
    return rig.measure(tokens, disk, [&] {
      const Clock::time_point start = Clock::now();
      rig.session().sync(timeline, options.stop);
      return std::chrono::duration<double>(Clock::now() - start).count();
    });
  };
  const Figures cold = figures_of(run(true), rig, "cold");
  if (rig.all_experts_fit()) rig.fill_cache();
  std::vector<Figures> runs;
  for (int i = 0; i < options.repeat; ++i) {
    runs.push_back(figures_of(run(!rig.all_experts_fit()), rig, "warm"));
  }

  Report report = rig.report("prefill");
  report.setting["tokens"] = tokens;
  report.setting["context"] = options.context;
  report.lines.push_back(fmt::format(
      "prefill   {}: {} tokens in chunks of {}, {} threads, {} routing, {}, cache {} ({:.1f} % of "
      "the experts)",
      std::filesystem::path(report.model).filename().string(), tokens, rig.engine().chunk(),
      report.setting["threads"].get<int>(), options.routing, rig.engine().io_name(),
      format_bytes(rig.engine().plan().cache), 100 * rig.cache_share()));
  report.lines.push_back(cold.line);
  for (const Figures& f : runs) report.lines.push_back(f.line);

  const Figures& middle = median_run(&runs);
  const engine::Prediction predicted = engine::predict_prompt(rig.work(), rig.cache_share(), tokens,
                                                              rig.engine().chunk(), middle.before);
  report.lines.push_back(fmt::format("predicted{:8.1f} tok/s  ({}; with state)", predicted.tok_s,
                                     engine::bound_name(predicted.bound)));
  report.figures = middle.json;
  report.figures["predicted_tok_s"] = predicted.tok_s;
  add_runs(middle, cold, runs, &report);
  report.unit = "tok/s";
  return report;
}

}  // namespace flashmoe::bench
