#include "experts/synthetic_routing.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <numeric>

#include "base/check.h"

namespace flashmoe::experts {

namespace {

constexpr double kSlowHalfLife = 12, kFastHalfLife = 1;  // rows
constexpr float kSlowScale = 0.8f, kNoiseScale = 0.5f;
constexpr float kEarlyLayers = 0.6f;

// Both make 81 % of guesses true: noise relative to the spread of the logits, and how much likelier
// the first pick is named than the last.
constexpr float kDoubt = 0.19f;
constexpr double kRankDoubt = 0.38;

// Normal numbers from 12 random bits: the quantiles of the normal distribution, evenly spaced.
// Three come from one random number, at a fraction of the cost of a formula.
constexpr int kNormalBits = 12;
using NormalTable = std::array<float, 1 << kNormalBits>;

const NormalTable& normal_table() {
  static const NormalTable table = [] {
    NormalTable t;
    const size_t half = t.size() / 2;
    for (size_t i = 0; i < half; ++i) {
      const double p = (static_cast<double>(i) + 0.5) / static_cast<double>(t.size());
      double low = -6, high = 0;
      for (int step = 0; step < 40; ++step) {
        const double middle = (low + high) / 2;
        (0.5 * std::erfc(-middle / std::sqrt(2.0)) < p ? low : high) = middle;
      }
      t[i] = static_cast<float>(low);
      t[t.size() - 1 - i] = -t[i];
    }
    return t;
  }();
  return table;
}

struct ThreeNormals {
  float a, b, c;
};

ThreeNormals three_normals(const NormalTable& table, RandomBits& random) {
  const uint64_t bits = random();
  constexpr uint64_t kMask = (1 << kNormalBits) - 1;
  return {table[bits & kMask], table[(bits >> kNormalBits) & kMask],
          table[(bits >> (2 * kNormalBits)) & kMask]};
}

// x' = keep x + renew n keeps unit variance and halves the correlation every half-life.
struct Decay {
  float keep, renew;
};

Decay decay(double half_life) {
  const double keep = std::exp2(-1 / half_life);
  return {static_cast<float>(keep), static_cast<float>(std::sqrt(1 - keep * keep))};
}

// In [0, n), for n below 2^32.
uint64_t random_below(uint64_t n, RandomBits& random) { return ((random() >> 32) * n) >> 32; }

double unit_random(RandomBits& random) { return static_cast<double>(random() >> 11) * 0x1p-53; }

// The experts of the k largest logits, largest first, the lowest id on ties.
void pick_largest(std::span<const float> logits, std::span<kernels::Route> routes) {
  const size_t k = routes.size();
  size_t count = 0;
  float least = 0;  // logit of the last pick, when there are k
  for (size_t e = 0; e < logits.size(); ++e) {
    const float logit = logits[e];
    if (count == k && logit <= least) continue;
    size_t at = count < k ? count++ : k - 1;
    for (; at > 0 && logits[static_cast<size_t>(routes[at - 1].expert)] < logit; --at) {
      routes[at].expert = routes[at - 1].expert;
    }
    routes[at].expert = static_cast<int32_t>(e);
    least = logits[static_cast<size_t>(routes[count - 1].expert)];
  }
}

}  // namespace

void MadeUpRouting::begin_step(int64_t /*rows*/) {
  for (std::vector<int32_t>& picks : guessed_at_) picks.clear();
}

void MadeUpRouting::on_routes(int layer, std::span<kernels::Route> routes, int k) {
  const std::vector<int32_t>& picks = guessed_at_[static_cast<size_t>(layer)];
  CHECK(picks.empty() || picks.size() == routes.size());
  for (size_t i = 0; i < picks.size(); ++i) routes[i].expert = picks[i];
  if (!picks.empty()) return;
  const size_t width = static_cast<size_t>(k);
  for (size_t row = 0; row < routes.size(); row += width) pick(layer, routes.subspan(row, width));
}

void MadeUpRouting::on_early_routes(int layer, std::span<kernels::Route> routes, int k) {
  std::vector<int32_t>& picks = guessed_at_[static_cast<size_t>(layer)];
  picks.clear();
  const size_t width = static_cast<size_t>(k);
  for (size_t begin = 0; begin < routes.size(); begin += width) {
    const std::span<kernels::Route> row = routes.subspan(begin, width);
    pick(layer, row);
    for (const kernels::Route& r : row) picks.push_back(r.expert);
    guess(layer, row);
  }
}

SyntheticRouting::SyntheticRouting(const RoutingShape& shape, uint64_t seed)
    : MadeUpRouting(shape, seed),
      layers_(static_cast<size_t>(shape.layers)),
      logits_(static_cast<size_t>(shape.experts)) {
  const size_t experts = static_cast<size_t>(shape.experts);
  RandomBits seeds{seed};
  for (int i = 0; i < shape.layers; ++i) {
    Layer& layer = layers_[static_cast<size_t>(i)];
    layer.random.state = seeds();
    layer.structure = i < shape.layers / 4 ? kEarlyLayers : 1;
    layer.liked.resize(experts);
    layer.slow.resize(experts);
    layer.fast.resize(experts);
    for (size_t e = 0; e < experts; ++e) {
      const ThreeNormals n = three_normals(normal_table(), layer.random);
      layer.slow[e] = n.a;
      layer.fast[e] = n.b;
    }
  }
}

void SyntheticRouting::pick(int layer, std::span<kernels::Route> row) {
  CHECK(row.size() <= logits_.size());
  static const Decay kSlow = decay(kSlowHalfLife), kFast = decay(kFastHalfLife);
  const NormalTable& table = normal_table();
  Layer& l = layers_[static_cast<size_t>(layer)];
  const float c = l.structure;
  RandomBits random = l.random;
  if (l.row++ % kSessionRows == 0) {
    for (float& liked : l.liked) liked = c * three_normals(table, random).a;
  }
  for (size_t e = 0; e < logits_.size(); ++e) {
    const ThreeNormals n = three_normals(table, random);
    const float slow = l.slow[e] = kSlow.keep * l.slow[e] + kSlow.renew * n.a;
    const float fast = l.fast[e] = kFast.keep * l.fast[e] + kFast.renew * n.b;
    logits_[e] = l.liked[e] + c * (kSlowScale * slow + fast) + kNoiseScale * n.c;
  }
  l.random = random;
  pick_largest(logits_, row);
}

void SyntheticRouting::guess(int layer, std::span<kernels::Route> row) {
  const NormalTable& table = normal_table();
  const float c = layers_[static_cast<size_t>(layer)].structure;
  const float spread = std::sqrt(c * c * (2 + kSlowScale * kSlowScale) + kNoiseScale * kNoiseScale);
  for (float& logit : logits_) logit += kDoubt * spread * three_normals(table, doubts_).a;
  pick_largest(logits_, row);
}

UniformRouting::UniformRouting(const RoutingShape& shape, uint64_t seed)
    : MadeUpRouting(shape, seed), layers_(static_cast<size_t>(shape.layers)) {
  RandomBits seeds{seed};
  for (Layer& layer : layers_) {
    layer.random.state = seeds();
    layer.experts.resize(static_cast<size_t>(shape.experts));
    std::iota(layer.experts.begin(), layer.experts.end(), 0);
  }
}

void UniformRouting::pick(int layer, std::span<kernels::Route> row) {
  auto& [random, experts] = layers_[static_cast<size_t>(layer)];
  CHECK(row.size() <= experts.size());
  for (size_t i = 0; i < row.size(); ++i) {
    // The first steps of a shuffle of what an earlier shuffle left.
    std::swap(experts[i], experts[i + random_below(experts.size() - i, random)]);
    row[i].expert = experts[i];
  }
}

void UniformRouting::guess(int layer, std::span<kernels::Route> row) {
  const std::vector<int32_t>& experts = layers_[static_cast<size_t>(layer)].experts;
  const uint64_t others = experts.size() - row.size();  // which follow those picked
  for (size_t i = 0; i < row.size() && others > 0; ++i) {
    const double named =
        1 - kRankDoubt * (static_cast<double>(i) + 0.5) / static_cast<double>(row.size());
    if (unit_random(doubts_) < named) continue;
    row[i].expert = experts[row.size() + random_below(others, doubts_)];
  }
}

}  // namespace flashmoe::experts
