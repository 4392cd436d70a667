// A routing's statistics for people and for scripts. Owns their form; the counts come from
// experts::RoutingStats.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "bench/report.h"
#include "experts/routing_stats.h"

namespace flashmoe::bench {

// `expert_bytes`: of one expert in its file, the mean over the layers; 0 where it is not known.
std::vector<std::string> routing_lines(const experts::RoutingStats& stats, uint64_t expert_bytes);
// Keys: rows, picks, experts, experts_used, coverage, reuse, recall, layers.
Json routing_json(const experts::RoutingStats& stats, uint64_t expert_bytes);

// What became of a cache's misses: experts that were needed for the first time, and such that had
// been evicted. `misses` are those of the cache that served the routing of `stats`.
struct MissKinds {
  int64_t first = 0, evicted = 0;
};
MissKinds miss_kinds(const experts::RoutingStats& stats, int64_t misses);

}  // namespace flashmoe::bench
