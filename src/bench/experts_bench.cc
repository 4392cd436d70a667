#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <filesystem>

#include "base/error.h"
#include "base/format_units.h"
#include "bench/benches.h"
#include "bench/process_io.h"
#include "engine/engine_parts.h"
#include "experts/routing_source.h"
#include "experts/synthetic_routing.h"
#include "kernels/cpu/isa.h"

namespace flashmoe::bench {

namespace {

constexpr int64_t kDefaultSteps = 32, kFillRows = 64, kMostFillSteps = 512;

// Runs the experts of all layers as a model would, on activations without meaning.
class ExpertSteps {
 public:
  ExpertSteps(Engine::Parts* parts, int64_t most_rows)
      : parts_(*parts),
        k_(parts->config.moe.experts_per_token),
        x_(static_cast<size_t>(most_rows * parts->config.hidden)),
        y_(static_cast<size_t>(most_rows * parts->config.hidden * k_)),
        routes_(static_cast<size_t>(most_rows * k_)),
        ages_(static_cast<size_t>(most_rows)) {
    for (size_t i = 0; i < x_.size(); ++i) x_[i] = static_cast<float>(i % 19) / 9 - 1;
  }

  void run(experts::RouteTap* routing, int64_t rows) {
    const std::span<kernels::Route> routes =
        std::span(routes_).first(static_cast<size_t>(rows * k_));
    parts_.runner->begin_step(std::span(ages_).first(static_cast<size_t>(rows)));
    routing->begin_step(rows);
    int routed = 0;
    for (int layer = 0; layer < parts_.config.layers; ++layer) {
      if (!parts_.config.routed[static_cast<size_t>(layer)]) continue;
      for (size_t i = 0; i < routes.size(); ++i) {
        routes[i] = {static_cast<int32_t>(i) % k_, 1.0f / static_cast<float>(k_), 0};
      }
      routing->on_routes(routed++, routes, k_);
      parts_.runner->start(layer, routes, k_);
      parts_.runner->finish(x_.data(), y_.data(), nullptr);
    }
    routing->end_step();
  }

 private:
  Engine::Parts& parts_;
  int k_;
  std::vector<float> x_, y_;
  std::vector<kernels::Route> routes_;
  std::vector<int32_t> ages_;  // zeros: each row is a sequence's only one
};

}  // namespace

Report bench_experts(const BenchOptions& options) {
  using Clock = std::chrono::steady_clock;
  // There is no model to pick experts.
  const std::string routing_name = options.routing == "model" ? "uniform" : options.routing;
  const int64_t steps = options.tokens > 0 ? options.tokens : kDefaultSteps;
  LimitMeter meter(compute_threads(options.engine));
  const std::unique_ptr<Engine::Parts> parts = engine::plan_engine(options.engine);
  if (parts->work.layers == 0) {
    throw_error(ErrorCode::kUsage, "{}: the model has no experts", parts->model_path);
  }
  meter.add_disk(*parts);
  engine::make_runner(parts.get());
  const MemoryPlan& plan = parts->plan;
  const bool all_fit = plan.cache >= plan.all_experts;
  const experts::RoutingShape shape{parts->work.layers, parts->work.experts, parts->work.k};
  const std::unique_ptr<experts::RouteTap> routing =
      experts::make_routing(routing_name, shape, options.seed);
  ExpertSteps expert_steps(parts.get(), std::max(options.batch, kFillRows));
  const auto stop_if_asked = [&] {
    if (options.stop && options.stop()) throw Error(ErrorCode::kCancelled, "stopped");
  };

  const auto measure = [&](const char* name, bool disk) {
    const engine::MachineLimits before = meter.measure(disk);
    const experts::MoeStats was = parts->runner->stats();
    const uint64_t disk_was = process_disk_bytes().value_or(was.disk_bytes);
    const Clock::time_point start = Clock::now();
    for (int64_t i = 0; i < steps; ++i) {
      stop_if_asked();
      expert_steps.run(routing.get(), options.batch);
    }
    const double seconds = std::chrono::duration<double>(Clock::now() - start).count();
    const experts::MoeStats is = parts->runner->stats();
    const uint64_t disk_bytes = process_disk_bytes().value_or(is.disk_bytes) - disk_was;
    const engine::MachineLimits limits = mean(before, meter.measure(disk));
    const double missed = static_cast<double>(is.miss_bytes - was.miss_bytes);
    const double bytes = static_cast<double>(is.hit_bytes - was.hit_bytes) + missed;
    const double ops = 2.0 * static_cast<double>(steps * options.batch * parts->work.picks() *
                                                 parts->work.expert_macs);
    const int64_t visits = is.hits - was.hits + is.misses - was.misses;
    const double hit_rate = static_cast<double>(is.hits - was.hits) / static_cast<double>(visits);
    const engine::Bounded least = engine::least_time(bytes, missed, ops, limits);
    const double per_token = 1.0 / static_cast<double>(steps * options.batch);
    Figures f;
    f.figure = bytes / seconds / 1e9;
    f.limit = bytes / least.seconds / 1e9;
    f.json = {{"gb_s", f.figure},
              {"limit_gb_s", f.limit},
              {"fraction", f.fraction()},
              {"bound", engine::bound_name(least.bound)},
              {"tok_s", 1 / (seconds * per_token)},
              {"int8_ops_s", ops / seconds},
              {"bytes_per_token", bytes * per_token},
              {"missed_bytes_per_token", missed * per_token},
              {"disk_bytes_per_token", static_cast<double>(disk_bytes) * per_token},
              {"hit_rate", hit_rate},
              {"memory_gb_s", limits.memory_bytes_s / 1e9},
              {"disk_gb_s", limits.disk_bytes_s / 1e9},
              {"int8_gops_s", limits.int8_ops_s / 1e9}};
    f.line = fmt::format(
        "{:<9}{:8.2f} GB/s  {:5.1f} % of {:.2f} ({})  hits {:5.1f} %  {} a token, {} from disk",
        name, f.figure, 100 * f.fraction(), f.limit, engine::bound_name(least.bound),
        100 * hit_rate, format_bytes(static_cast<uint64_t>(bytes * per_token)),
        format_bytes(static_cast<uint64_t>(static_cast<double>(disk_bytes) * per_token)));
    return f;
  };

  const Figures cold = measure("cold", true);
  if (all_fit) {
    experts::UniformRouting uniform(shape, options.seed);
    for (int64_t i = 0, missed = -1; i < kMostFillSteps; ++i) {
      stop_if_asked();
      expert_steps.run(&uniform, kFillRows);
      const int64_t misses = parts->runner->stats().misses;
      if (misses == std::exchange(missed, misses)) break;
    }
  } else {
    for (int64_t i = 0; i < kMostFillSteps && parts->runner->stats().miss_bytes < plan.cache; ++i) {
      stop_if_asked();
      expert_steps.run(routing.get(), options.batch);
    }
  }
  std::vector<Figures> runs;
  for (int i = 0; i < options.repeat; ++i) runs.push_back(measure("warm", !all_fit));

  Report report;
  report.name = "experts";
  report.model = parts->model_path;
  report.setting = {
      {"routing", routing_name},
      {"backend", options.engine.backend},
      {"isa", kernels::cpu::isa_name(kernels::cpu::chosen_isa())},
      {"threads", meter.threads()},
      {"batch", options.batch},
      {"memory_bytes", options.engine.memory_bytes},  // 0: what was available
      {"budget_bytes", plan.budget},
      {"cache_share", static_cast<double>(plan.cache) / static_cast<double>(plan.all_experts)},
      {"io", engine::io_mode_name(parts->io_mode)},
      {"seed", options.seed}};
  report.lines.push_back(
      fmt::format("experts   {}: {} rows a step, {} threads, {} routing, {}, cache {}",
                  std::filesystem::path(report.model).filename().string(), options.batch,
                  meter.threads(), routing_name, parts->io_name, format_bytes(plan.cache)));
  report.lines.push_back(cold.line);
  for (const Figures& f : runs) report.lines.push_back(f.line);
  const Figures& middle = median_run(&runs);
  report.figures = middle.json;
  add_runs(middle, cold, runs, &report);
  report.unit = "GB/s";
  return report;
}

}  // namespace flashmoe::bench
