// Compares eviction policies on a routing, without a disk, and says how well the next experts can
// be foretold. Runs a model only for the model's own routing.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "bench/report.h"
#include "bench/rig.h"
#include "experts/route_tap.h"

namespace flashmoe::bench {

struct CacheBenchOptions {
  // routing, tokens (0: 600, or all of a trace) and seed; for the routing "model" also the engine.
  BenchOptions run;
  std::string model;            // the name of what `shape` is of; empty: nothing but a trace
  experts::RoutingShape shape;  // unless a trace brings its own
  uint64_t expert_bytes = 0;    // of one expert in its file; 0: not known
  // Sizes: "12.5%" of all experts, or bytes, "8GiB". Empty: a choice of shares.
  std::vector<std::string> caches;
};

Report bench_cache(const CacheBenchOptions& options);

}  // namespace flashmoe::bench
