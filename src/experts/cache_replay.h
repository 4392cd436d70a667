// Plays a recorded routing through expert caches of any size without a disk, to compare policies.
// Owns the order of visits; ours is the real EvictionPolicy.
//
// As in the engine, an expert that several rows of a step pick in a layer is one visit, a layer's
// hits are found before anything is evicted for its misses, and its experts are not given up for
// one another while others are left. All experts count as equally large. A step's rows count as
// one sequence's.
#pragma once

#include <cstdint>
#include <vector>

#include "experts/eviction_policy.h"
#include "experts/routing_trace.h"

namespace flashmoe::experts {

enum class ReplayPolicy {
  kLru,     // the least recently used goes
  kLfu,     // the least often used goes; counts survive eviction, the older use on ties
  kOurs,    // EvictionPolicy
  kBelady,  // the one goes whose next use is farthest: the optimum, which knows the future.
            // Exact when the cache holds all experts that a step visits in one layer.
};

struct ReplayCount {
  int64_t visits = 0;
  int64_t misses = 0;
  int64_t first_touches = 0;  // misses of experts that had not been used before

  double hit_share() const;
  void operator+=(const ReplayCount& other);
};

struct ReplayResult {
  ReplayCount cold;  // the first quarter of the rows, on a cache that starts empty
  ReplayCount warm;  // the rest
  ReplayCount all() const;
};

class CacheReplay {
 public:
  explicit CacheReplay(const RoutingTrace& trace);

  // A cache of `slots` experts, at least 1. half_life, in tokens, is that of kOurs.
  ReplayResult run(ReplayPolicy policy, int64_t slots,
                   double half_life = EvictionPolicy::kHalfLife) const;

 private:
  // The visits of one layer in one step: keys_[begin, end).
  struct Group {
    size_t begin, end;
    int layer;
    int64_t begins_step;  // the rows of the step that it begins, else 0
    bool crowded;         // as StreamedMoe sees it
    bool warm;
  };
  template <typename Policy>
  ReplayResult play(Policy policy, int64_t slots) const;
  std::vector<int64_t> next_uses() const;  // for each visit, the group of the key's next

  RoutingShape shape_;
  size_t key_count_;
  std::vector<ExpertKey> keys_;
  std::vector<size_t> ages_begin_;  // of each visit, in ages_; and the end
  std::vector<int32_t> ages_;       // of the rows that pick the visit's expert
  std::vector<Group> groups_;
};

}  // namespace flashmoe::experts
