#include "bench/cache_bench.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <iterator>

#include "base/error.h"
#include "base/format_units.h"
#include "bench/routing_report.h"
#include "experts/cache_replay.h"
#include "experts/routing_source.h"
#include "experts/routing_stats.h"
#include "experts/trace_recorder.h"

namespace flashmoe::bench {

namespace {

using experts::CacheReplay;
using experts::ReplayCount;
using experts::ReplayPolicy;
using experts::ReplayResult;
using experts::RoutingTrace;

constexpr int64_t kDefaultTokens = 600;
constexpr int64_t kTokensAtOnce = 256;  // made up before a stop is noticed
const std::vector<std::string> kDefaultCaches = {"4%", "12.5%", "25%", "50%"};
constexpr const char* kTracePrefix = "trace:";

struct NamedPolicy {
  const char* name;
  ReplayPolicy policy;
};
constexpr NamedPolicy kPolicies[] = {{"lru", ReplayPolicy::kLru},
                                     {"lfu", ReplayPolicy::kLfu},
                                     {"ours", ReplayPolicy::kOurs},
                                     {"belady", ReplayPolicy::kBelady}};
constexpr double kHalfLives[] = {2, 4, 8, 16, 32, 64};  // tokens

void check_stop(const BenchOptions& options) {
  if (options.stop && options.stop()) throw Error(ErrorCode::kCancelled, "stopped");
}

// Slots of a cache of the size that `text` names.
int64_t parse_slots(const std::string& text, const experts::RoutingShape& shape,
                    uint64_t expert_bytes) {
  double slots = 0;
  if (text.ends_with('%')) {
    double percent = 0;
    const char* end = text.data() + text.size() - 1;
    const auto [stop, error] = std::from_chars(text.data(), end, percent);
    if (error != std::errc() || stop != end || !(percent > 0 && percent <= 100)) {
      throw_error(ErrorCode::kUsage, "a cache of '{}': give 0 to 100 %, or a size", text);
    }
    slots = percent / 100 * static_cast<double>(shape.keys());
  } else {
    const uint64_t bytes = parse_size(text);
    if (expert_bytes == 0) {
      throw_error(ErrorCode::kUsage,
                  "a cache of '{}': the experts' size is not known without a model; give a share "
                  "such as 10%",
                  text);
    }
    slots = static_cast<double>(bytes) / static_cast<double>(expert_bytes);
  }
  return std::clamp<int64_t>(std::llround(slots), 1, shape.keys());
}

// What the model itself picks while it generates.
RoutingTrace run_model(const BenchOptions& options, int64_t tokens) {
  Rig rig(options, tokens + 1);
  RoutingTrace trace;
  trace.shape = rig.engine().routing_shape();
  experts::TraceRecorder recorder(
      trace.shape, true, [&](const experts::TraceStep& step) { trace.steps.push_back(step); });
  rig.engine().set_route_tap(&recorder);
  rig.decode(tokens);
  rig.engine().set_route_tap(nullptr);
  return trace;
}

RoutingTrace find_trace(const CacheBenchOptions& o) {
  const std::string& routing = o.run.routing;
  if (routing.starts_with(kTracePrefix)) {
    RoutingTrace trace =
        experts::read_routing_trace(routing.substr(std::string(kTracePrefix).size()));
    if (!o.model.empty() && trace.shape != o.shape) {
      throw_error(ErrorCode::kUsage,
                  "{}: is a routing of {} layers of {} experts, {} a token; {} has {} of {}, {} a "
                  "token",
                  routing, trace.shape.layers, trace.shape.experts, trace.shape.k, o.model,
                  o.shape.layers, o.shape.experts, o.shape.k);
    }
    int64_t rows = 0;
    const auto beyond = std::ranges::find_if(trace.steps, [&](const experts::TraceStep& step) {
      rows += step.rows;
      return o.run.tokens > 0 && rows > o.run.tokens;
    });
    trace.steps.erase(beyond, trace.steps.end());
    return trace;
  }
  if (o.shape.keys() == 0) throw_error(ErrorCode::kUsage, "{} has no experts to cache", o.model);
  const int64_t tokens = o.run.tokens > 0 ? o.run.tokens : kDefaultTokens;
  if (routing == "model") return run_model(o.run, tokens);
  const std::unique_ptr<experts::RouteTap> tap =
      experts::make_routing(routing, o.shape, o.run.seed);
  RoutingTrace trace;
  trace.shape = o.shape;
  for (int64_t left = tokens; left > 0; left -= kTokensAtOnce) {
    check_stop(o.run);
    const std::vector<int64_t> rows(static_cast<size_t>(std::min(left, kTokensAtOnce)), 1);
    RoutingTrace part = experts::generate_trace(*tap, o.shape, rows);
    std::ranges::move(part.steps, std::back_inserter(trace.steps));
  }
  return trace;
}

Json count_json(const ReplayCount& count) {
  return {{"hit_rate", count.hit_share()},
          {"visits", count.visits},
          {"first_misses", count.first_touches},
          {"eviction_misses", count.misses - count.first_touches}};
}

std::string percent(const ReplayCount& count) {
  return fmt::format("{:.1f}", 100 * count.hit_share());
}

// One cache under every policy: a line of the table and an entry of the JSON array.
void replay_cache(const CacheReplay& replay, const std::string& name, int64_t slots,
                  const experts::RoutingShape& shape, const BenchOptions& options, Report* report) {
  Json entry = {{"cache", name},
                {"slots", slots},
                {"share", static_cast<double>(slots) / static_cast<double>(shape.keys())},
                {"token_sets", static_cast<double>(slots) / static_cast<double>(shape.picks())}};
  std::string cold, warm;
  int64_t first = 0, warm_misses = 0;
  for (const NamedPolicy& p : kPolicies) {
    check_stop(options);
    const ReplayResult result = replay.run(p.policy, slots);
    cold += fmt::format("{:>7}", percent(result.cold));
    warm += fmt::format("{:>7}", percent(result.warm));
    entry[p.name] = {{"cold", count_json(result.cold)}, {"warm", count_json(result.warm)}};
    if (p.policy == ReplayPolicy::kOurs) {
      first = result.warm.first_touches;
      warm_misses = result.warm.misses;
    }
  }
  std::string half_lives;
  for (const double half_life : kHalfLives) {
    check_stop(options);
    const ReplayCount count = replay.run(ReplayPolicy::kOurs, slots, half_life).warm;
    half_lives += fmt::format("{:>7}", percent(count));
    entry["ours_by_half_life"][fmt::format("{}", half_life)] = count.hit_share();
  }
  report->lines.push_back(fmt::format(
      "{:<10}{:>8}{:>8.1f}  {}  {}  {}{:>9.1f}", name, slots, entry["token_sets"].get<double>(),
      cold, warm, half_lives,
      warm_misses > 0 ? 100 * static_cast<double>(first) / static_cast<double>(warm_misses) : 0.0));
  report->figures["caches"].push_back(entry);
}

}  // namespace

Report bench_cache(const CacheBenchOptions& o) {
  const RoutingTrace trace = find_trace(o);
  const experts::RoutingShape& shape = trace.shape;
  if (trace.steps.empty()) {
    throw_error(ErrorCode::kUsage, "the routing '{}' has no tokens to replay", o.run.routing);
  }
  experts::RoutingStats stats(shape);
  for (const experts::TraceStep& step : trace.steps) stats.add(step);

  Report report;
  report.name = "cache";
  report.model = o.model.empty() ? trace.model : o.model;
  report.setting = {{"routing", o.run.routing}, {"layers", shape.layers},
                    {"experts", shape.experts}, {"experts_per_token", shape.k},
                    {"tokens", stats.rows()},   {"steps", trace.steps.size()},
                    {"seed", o.run.seed}};
  report.figures["routing"] = routing_json(stats, o.expert_bytes);
  report.lines = {fmt::format(
      "routing         {}: {} layers of {} experts, {} a token; {} tokens in {} steps",
      o.run.routing, shape.layers, shape.experts, shape.k, stats.rows(), trace.steps.size())};
  for (std::string& line : routing_lines(stats, o.expert_bytes)) {
    report.lines.push_back(std::move(line));
  }

  report.lines.push_back("");
  report.lines.push_back(
      "hits in % of visits: cold is the first quarter from an empty cache, warm the rest; sets are "
      "of one token's experts");
  const auto heading = [](const std::string& title, size_t columns) {
    return fmt::format("{:^{}}", title, 7 * columns);
  };
  std::string names, half_lives;
  for (const NamedPolicy& p : kPolicies) names += fmt::format("{:>7}", p.name);
  for (const double half_life : kHalfLives) half_lives += fmt::format("{:>7}", half_life);
  report.lines.push_back(fmt::format("{:26}  {}  {}  {}{:>9}", "", heading("cold", 4),
                                     heading("warm", 4),
                                     heading("ours, warm, by half-life in tokens", 6), "first of"));
  report.lines.push_back(fmt::format("{:<10}{:>8}{:>8}  {}  {}  {}{:>9}", "cache", "slots", "sets",
                                     names, names, half_lives, "misses %"));
  const CacheReplay replay(trace);
  for (const std::string& cache : o.caches.empty() ? kDefaultCaches : o.caches) {
    replay_cache(replay, cache, parse_slots(cache, shape, o.expert_bytes), shape, o.run, &report);
  }
  // For the history: the largest cache's hits beside the best there could be.
  const Json& last = report.figures["caches"].back();
  report.figure = 100 * last["ours"]["warm"]["hit_rate"].get<double>();
  report.unit = "% hits";
  report.limit = 100 * last["belady"]["warm"]["hit_rate"].get<double>();
  return report;
}

}  // namespace flashmoe::bench
