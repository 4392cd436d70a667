#include "experts/eviction_policy.h"

#include <cmath>

namespace flashmoe::experts {

namespace {

constexpr double kNever = -1e300;

}  // namespace

EvictionPolicy::EvictionPolicy(int layers, int experts, double half_life)
    : experts_(experts),
      half_life_(half_life),
      score_(static_cast<size_t>(layers) * static_cast<size_t>(experts), kNever),
      candidates_(static_cast<size_t>(layers)) {}

void EvictionPolicy::visit(ExpertKey key, std::span<const int32_t> ages) {
  double uses = 0;
  for (const int32_t age : ages) uses += std::exp2(-age / half_life_);
  const bool candidate = candidates(key).erase({score_[key], key}) > 0;
  const double now = time_ / half_life_;
  // log2(2^score + uses 2^now); an ancient score, or none, just vanishes.
  score_[key] = now + std::log2(uses + std::exp2(score_[key] - now));
  if (candidate) add(key);
}

double EvictionPolicy::use(ExpertKey key) const {
  return std::exp2(score_[static_cast<size_t>(key)] - time_ / half_life_);
}

ExpertKey EvictionPolicy::victim() const {
  const std::pair<double, ExpertKey>* lowest = nullptr;
  for (const Candidates& layer : candidates_) {
    if (!layer.empty() && (lowest == nullptr || *layer.begin() < *lowest)) lowest = &*layer.begin();
  }
  return lowest == nullptr ? -1 : lowest->second;
}

ExpertKey EvictionPolicy::victim_for(int layer, std::span<const uint64_t> used,
                                     uint64_t share) const {
  const size_t own = static_cast<size_t>(layer);
  if (used[own] >= share && !candidates_[own].empty()) return candidates_[own].begin()->second;
  int richest = -1;
  for (size_t l = 0; l < candidates_.size(); ++l) {
    if (candidates_[l].empty()) continue;
    if (richest < 0 || used[l] > used[static_cast<size_t>(richest)]) richest = static_cast<int>(l);
  }
  return richest < 0 ? -1 : candidates_[static_cast<size_t>(richest)].begin()->second;
}

}  // namespace flashmoe::experts
