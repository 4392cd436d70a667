#include "experts/eviction_policy.h"

#include <cmath>

namespace flashmoe::experts {

void EvictionPolicy::advance() {
  for (ExpertKey key : late_) visit(key);
  late_.clear();
  ++time_;
}

void EvictionPolicy::visit(ExpertKey key) {
  const bool candidate = candidates_.erase(rank(key)) > 0;
  const double now = time_ / half_life_;
  // log2(2^score + 2^now); the difference is bounded so that an ancient score just vanishes.
  score_[key] = score_[key] == kNever ? now : now + std::log2(1 + std::exp2(score_[key] - now));
  if (candidate) candidates_.insert(rank(key));
}

void EvictionPolicy::add(ExpertKey key) {
  last_use_[key] = ++uses_;
  candidates_.insert(rank(key));
}

}  // namespace flashmoe::experts
