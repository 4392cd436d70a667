#include "experts/eviction_policy.h"

#include <cmath>

namespace flashmoe::experts {

void EvictionPolicy::advance(int64_t tokens) {
  for (const auto& [key, uses] : late_) count(key, uses);
  late_.clear();
  time_ += static_cast<double>(tokens);
}

double EvictionPolicy::uses(std::span<const int32_t> ages) const {
  double uses = 0;
  for (const int32_t age : ages) uses += std::exp2(-age / half_life_);
  return uses;
}

void EvictionPolicy::count(ExpertKey key, double uses) {
  const bool candidate = candidates_.erase(rank(key)) > 0;
  const double now = time_ / half_life_;
  // log2(2^score + uses 2^now); an ancient score, or none, just vanishes.
  score_[key] = now + std::log2(uses + std::exp2(score_[key] - now));
  if (candidate) candidates_.insert(rank(key));
}

void EvictionPolicy::add(ExpertKey key) {
  last_use_[key] = ++uses_;
  candidates_.insert(rank(key));
}

}  // namespace flashmoe::experts
