// Which resident expert to give up: decayed frequency (LRFU) with counts that survive eviction.
// Pure bookkeeping, without memory or disk. On recorded traces it loses least of the simple online
// policies, both below and above one token's experts (docs/experiments.md).
//
// Each token that uses an expert adds 1 to its count, and all counts halve every kHalfLife tokens
// of a sequence. A token counts the same in a chunk of a prompt as in a step of its own. Since all
// counts decay alike, log2(count) + time / kHalfLife only changes on a use, and orders the experts.
#pragma once

#include <cstdint>
#include <set>
#include <span>
#include <utility>
#include <vector>

#include "experts/expert_index.h"

namespace flashmoe::experts {

class EvictionPolicy {
 public:
  static constexpr double kHalfLife = 8;  // tokens

  EvictionPolicy(int layers, int experts, double half_life = kHalfLife);

  // A step begins, of which the longest sequence has `tokens` tokens.
  void advance(int64_t tokens = 1) { time_ += static_cast<double>(tokens); }
  // The expert is used in this step, resident or not, by tokens after which as many of their
  // sequence follow in the step as `ages` says: one for each token.
  void visit(ExpertKey key, std::span<const int32_t> ages);
  // The expert's count.
  double use(ExpertKey key) const;
  // The expert may be evicted from now on, or no longer.
  void add(ExpertKey key) { candidates(key).insert({score_[key], key}); }
  void remove(ExpertKey key) { candidates(key).erase({score_[key], key}); }

  // The candidate with the lowest count (lowest key on ties); -1 when there is none.
  ExpertKey victim() const;
  // The same in a step that uses nearly all experts of each layer in turn. There the lowest of all
  // would let every layer push out the next ones' experts just before their use. So a layer that
  // has its share gives up its own, and one below it takes from the layer that has most.
  // used [layers], share: what the layers' experts take and may take, in any unit.
  ExpertKey victim_for(int layer, std::span<const uint64_t> used, uint64_t share) const;

 private:
  using Candidates = std::set<std::pair<double, ExpertKey>>;
  Candidates& candidates(ExpertKey key) { return candidates_[static_cast<size_t>(key / experts_)]; }

  int experts_;
  double half_life_;
  double time_ = 0;
  std::vector<double> score_;
  std::vector<Candidates> candidates_;  // of each layer
};

}  // namespace flashmoe::experts
