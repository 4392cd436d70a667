#include <fmt/format.h>

#include <algorithm>
#include <filesystem>

#include "base/format_units.h"
#include "bench/benches.h"

namespace flashmoe::bench {

namespace {

constexpr int64_t kDefaultTokens = 32, kDefaultContext = 128;
constexpr int64_t kMostWarmTokens = 512;  // while a cache smaller than the experts fills

// What a span of decoding amounts to. The limit knows weights only: state is listed beside.
Figures figures_of(const Span& span, const Rig& rig, int64_t context, const char* name) {
  const double bytes =
      span.per_token(static_cast<double>(span.done.dense_bytes + span.expert_bytes()));
  const double missed = span.per_token(static_cast<double>(span.done.expert_miss_bytes));
  const engine::MachineLimits limits = span.limits();
  const engine::Bounded least = engine::least_time(bytes, missed, 0, limits);
  Figures f;
  f.before = span.before;
  f.figure = span.tok_s();
  f.limit = least.seconds > 0 ? 1 / least.seconds : 0;
  f.json = span_figures(span);
  f.json["limit_tok_s"] = f.limit;
  f.json["bound"] = engine::bound_name(least.bound);
  f.json["fraction"] = f.fraction();
  f.json["context"] = context;
  f.json["state_bytes_per_token"] = rig.work().state_bytes(context);
  f.line = fmt::format(
      "{:<9}{:8.2f} tok/s  {:5.1f} % of {:.2f} ({}: {:.1f} GB/s{})  hits {:5.1f} %  {} a token, {} "
      "from disk",
      name, f.figure, 100 * f.fraction(), f.limit, engine::bound_name(least.bound),
      limits.memory_bytes_s / 1e9,
      limits.disk_bytes_s > 0 ? fmt::format(", disk {:.2f} GB/s", limits.disk_bytes_s / 1e9) : "",
      100 * span.hit_rate(), format_bytes(static_cast<uint64_t>(bytes)),
      format_bytes(
          static_cast<uint64_t>(span.per_token(static_cast<double>(span.process_disk_bytes)))));
  return f;
}

// Decodes until the cache has been filled as far as it can be, and `least` tokens at least.
void warm_up(Rig* rig, int64_t least) {
  if (rig->all_experts_fit()) {
    rig->decode(std::min<int64_t>(least, 4));
    return;
  }
  for (int64_t done = 0; done < kMostWarmTokens; done += least) {
    rig->decode(least);
    if (rig->engine().stats().expert_miss_bytes > rig->engine().plan().cache) return;
  }
}

}  // namespace

Report bench_decode(const BenchOptions& options) {
  const int64_t tokens = options.tokens > 0 ? options.tokens : kDefaultTokens;
  const int64_t context = options.context > 0 ? options.context : kDefaultContext;
  Rig rig(options, context + kMostWarmTokens + tokens * (options.repeat + 1));

  const Span cold_span = rig.measure(tokens, true, [&] { return rig.decode(tokens); });
  const Figures cold = figures_of(cold_span, rig, tokens / 2, "cold");

  if (rig.all_experts_fit()) rig.fill_cache();
  rig.fill_context(context);
  warm_up(&rig, tokens);
  std::vector<Figures> runs;
  for (int i = 0; i < options.repeat; ++i) {
    const int64_t middle = static_cast<int64_t>(rig.session().tokens().size()) + tokens / 2;
    const Span span =
        rig.measure(tokens, !rig.all_experts_fit(), [&] { return rig.decode(tokens); });
    runs.push_back(figures_of(span, rig, middle, "warm"));
  }

  Report report = rig.report("decode");
  report.setting["tokens"] = tokens;
  report.setting["context"] = context;
  report.lines.push_back(
      fmt::format("decode    {}: {} threads, {} routing, {}, cache {} ({:.1f} % of the experts)",
                  std::filesystem::path(report.model).filename().string(),
                  report.setting["threads"].get<int>(), options.routing, rig.engine().io_name(),
                  format_bytes(rig.engine().plan().cache), 100 * rig.cache_share()));
  report.lines.push_back(cold.line);
  for (const Figures& run : runs) report.lines.push_back(run.line);

  const Figures& middle = median_run(&runs);
  const double hit_rate = engine::expected_hit_rate(rig.cache_share(), rig.work().experts,
                                                    rig.work().k, rig.uniform_routing());
  const engine::Prediction predicted = engine::predict_decode(
      rig.work(), hit_rate, middle.json["context"].get<int64_t>(), middle.before);
  report.lines.push_back(fmt::format("predicted{:8.2f} tok/s  ({}; hits {:.1f} %; with state)",
                                     predicted.tok_s, engine::bound_name(predicted.bound),
                                     100 * hit_rate));

  report.figures = middle.json;
  report.figures["predicted_tok_s"] = predicted.tok_s;
  report.figures["predicted_hit_rate"] = hit_rate;
  add_runs(middle, cold, runs, &report);
  report.unit = "tok/s";
  return report;
}

}  // namespace flashmoe::bench
