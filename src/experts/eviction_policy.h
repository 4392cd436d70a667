// Which resident expert to give up: decayed frequency (LRFU) with counts that survive eviction.
// Pure bookkeeping, without memory or disk. On recorded traces it loses least of the simple online
// policies, both below and above one token's experts (docs/experiments.md).
//
// Each visit adds 1 to an expert's count, and all counts halve every kHalfLife steps. Since all
// decay alike, log2(count) + time / kHalfLife only changes on a visit, and orders the experts.
// Of equals the last used goes first: the others' turn comes sooner when layers take turns.
#pragma once

#include <cstdint>
#include <set>
#include <tuple>
#include <vector>

#include "experts/expert_index.h"

namespace flashmoe::experts {

class EvictionPolicy {
 public:
  static constexpr double kHalfLife = 8;  // steps

  explicit EvictionPolicy(size_t keys, double half_life = kHalfLife)
      : half_life_(half_life), score_(keys, kNever), last_use_(keys, 0) {}

  // A step (of one or more tokens) begins.
  void advance();
  // The expert is used in this step, resident or not.
  void visit(ExpertKey key);
  // The same, counted when the step is over. For a step that uses nearly all experts of each layer
  // in turn: if its visits counted at once, every layer would push out the next ones' experts.
  void visit_late(ExpertKey key) { late_.push_back(key); }
  // The expert may be evicted from now on, or no longer.
  void add(ExpertKey key);
  void remove(ExpertKey key) { candidates_.erase(rank(key)); }
  // The candidate with the lowest count (the last used on ties); -1 when there is none.
  ExpertKey victim() const {
    return candidates_.empty() ? -1 : std::get<ExpertKey>(*candidates_.begin());
  }

 private:
  static constexpr double kNever = -1e300;

  using Rank = std::tuple<double, int64_t, ExpertKey>;
  Rank rank(ExpertKey key) const { return {score_[key], -last_use_[key], key}; }

  double half_life_;
  double time_ = 0;
  int64_t uses_ = 0;
  std::vector<double> score_;
  std::vector<int64_t> last_use_;  // counts uses; 0: never a candidate
  std::vector<ExpertKey> late_;
  std::set<Rank> candidates_;
};

}  // namespace flashmoe::experts
