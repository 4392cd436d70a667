// Which resident expert to give up: decayed frequency (LRFU) with counts that survive eviction.
// Pure bookkeeping, without memory or disk. On recorded traces it loses least of the simple online
// policies, both below and above one token's experts (docs/experiments.md).
//
// Each visit adds 1 to an expert's count, and all counts halve every kHalfLife steps. Since all
// decay alike, log2(count) + time / kHalfLife only changes on a visit, and orders the experts.
#pragma once

#include <cstdint>
#include <set>
#include <utility>
#include <vector>

#include "experts/expert_index.h"

namespace flashmoe::experts {

class EvictionPolicy {
 public:
  static constexpr double kHalfLife = 8;  // steps

  explicit EvictionPolicy(size_t keys, double half_life = kHalfLife)
      : half_life_(half_life), score_(keys, kNever) {}

  // A step (of one or more tokens) begins.
  void advance() { ++time_; }
  // The expert is used in this step, resident or not.
  void visit(ExpertKey key);
  // The expert may be evicted from now on, or no longer.
  void add(ExpertKey key) { candidates_.insert({score_[key], key}); }
  void remove(ExpertKey key) { candidates_.erase({score_[key], key}); }
  // The candidate with the lowest count (lowest key on ties); -1 when there is none.
  ExpertKey victim() const { return candidates_.empty() ? -1 : candidates_.begin()->second; }

 private:
  static constexpr double kNever = -1e300;

  double half_life_;
  double time_ = 0;
  std::vector<double> score_;
  std::set<std::pair<double, ExpertKey>> candidates_;
};

}  // namespace flashmoe::experts
