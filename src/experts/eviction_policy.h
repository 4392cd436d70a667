// Which resident expert to give up: decayed frequency (LRFU) with counts that survive eviction.
// Pure bookkeeping, without memory or disk. On recorded traces it loses least of the simple online
// policies, both below and above one token's experts (docs/experiments.md).
//
// Each token that uses an expert adds 1 to its count, and all counts halve every kHalfLife tokens
// of a sequence. A token counts the same in a chunk of a prompt as in a step of its own. Since all
// counts decay alike, log2(count) + time / kHalfLife only changes on a use, and orders the experts.
// Of equals the last used goes first: the others' turn comes sooner when layers take turns.
#pragma once

#include <cstdint>
#include <set>
#include <span>
#include <tuple>
#include <utility>
#include <vector>

#include "experts/expert_index.h"

namespace flashmoe::experts {

class EvictionPolicy {
 public:
  static constexpr double kHalfLife = 8;  // tokens

  explicit EvictionPolicy(size_t keys, double half_life = kHalfLife)
      : half_life_(half_life), score_(keys, kNever), last_use_(keys, 0) {}

  // A step begins, of which the longest sequence has `tokens` tokens.
  void advance(int64_t tokens = 1);
  // The expert is used in this step, resident or not, by tokens after which as many of their
  // sequence follow in the step as `ages` says: one for each token.
  void visit(ExpertKey key, std::span<const int32_t> ages) { count(key, uses(ages)); }
  // The same, counted when the step is over. For a step that uses nearly all experts of each layer
  // in turn: if its visits counted at once, every layer would push out the next ones' experts.
  void visit_late(ExpertKey key, std::span<const int32_t> ages) {
    late_.push_back({key, uses(ages)});
  }
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
  double uses(std::span<const int32_t> ages) const;  // decayed to the step's end
  void count(ExpertKey key, double uses);

  double half_life_;
  double time_ = 0;
  int64_t uses_ = 0;
  std::vector<double> score_;
  std::vector<int64_t> last_use_;                   // counts uses; 0: never a candidate
  std::vector<std::pair<ExpertKey, double>> late_;  // and its uses
  std::set<Rank> candidates_;
};

}  // namespace flashmoe::experts
