// flashmoe bench cache: finds what the routing is of. A model's files are looked at but not
// loaded, unless the routing is the model's own.
#include <optional>

#include "bench/cache_bench.h"
#include "cli/bench_cache.h"
#include "cli/locate.h"
#include "convert/synth_shapes.h"
#include "engine/describe.h"
#include "model/config.h"

namespace flashmoe::cli {

namespace {

// Of published shapes: 4-bit codes with a scale and a bias of 16 bits for each group of 64.
constexpr double kBitsPerWeight = 4.5;

experts::RoutingShape shape_of(const model::ModelConfig& config) {
  return {config.routed_layers(), config.moe.experts, config.moe.experts_per_token};
}

}  // namespace

bench::Report bench_cache(const BenchCommandOptions& o, const bench::BenchOptions& run) {
  bench::CacheBenchOptions options;
  options.run = run;
  options.caches = o.caches;
  const bool is_trace = run.routing.starts_with("trace:");
  const std::string& name = o.model.model;
  if (const auto published = convert::published_config(name); published && run.routing != "model") {
    const model::ModelConfig config = model::parse_model_config(*published, name);
    options.model = name;
    options.shape = shape_of(config);
    options.expert_bytes =
        static_cast<uint64_t>(3.0 * config.hidden * config.moe.intermediate * kBitsPerWeight / 8);
  } else if (!name.empty() || !is_trace) {
    const engine::ModelDescription model = engine::describe(model_folder(name));
    options.model = model.path;
    options.shape = shape_of(model.config);
    options.run.engine.model = model.path;
    if (options.shape.keys() > 0) {
      options.expert_bytes = model.routed_bytes / static_cast<uint64_t>(options.shape.keys());
    }
  }
  if (const int k = run.engine.experts_per_token; k > 0) options.shape.k = k;
  return bench::bench_cache(options);
}

}  // namespace flashmoe::cli
