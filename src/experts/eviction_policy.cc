#include "experts/eviction_policy.h"

#include <cmath>

namespace flashmoe::experts {

void EvictionPolicy::visit(ExpertKey key) {
  const bool candidate = candidates_.erase({score_[key], key}) > 0;
  const double now = time_ / half_life_;
  // log2(2^score + 2^now); the difference is bounded so that an ancient score just vanishes.
  score_[key] = score_[key] == kNever ? now : now + std::log2(1 + std::exp2(score_[key] - now));
  if (candidate) candidates_.insert({score_[key], key});
}

}  // namespace flashmoe::experts
