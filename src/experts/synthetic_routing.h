// Routings made up for models without trained weights, by seed. Own their random numbers; replace
// the experts of every route they see. Rows count as consecutive tokens of one sequence, whatever
// steps they come in.
#pragma once

#include <cstdint>
#include <vector>

#include "experts/route_tap.h"

namespace flashmoe::experts {

// SplitMix64 (Steele, Lea and Flood, 2014): a counter, mixed.
struct RandomBits {
  uint64_t state = 0;
  uint64_t operator()() {
    uint64_t z = state += 0x9e3779b97f4a7c15;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    return z ^ (z >> 31);
  }
};

// As trained models route: some experts liked for a while, many picks like the last token's. The k
// experts of the largest
//   z_e(t) = c (S_e + 0.8 slow_e(t) + fast_e(t)) + 0.5 noise_e(t)
// in each layer, all terms of unit variance: S drawn anew every kSessionRows rows; slow and fast
// autoregressive with half-lives of 12 and 1 rows; c is 0.6 in the first quarter of the layers,
// where routers are less decided, else 1. Fitted to published statistics of models of 512 experts
// of which 10 are picked (docs/experiments.md).
class SyntheticRouting final : public RouteTap {
 public:
  static constexpr int kSessionRows = 150;

  SyntheticRouting(const RoutingShape& shape, uint64_t seed);
  void begin_step(int64_t /*rows*/) override {}
  void on_routes(int layer, std::span<kernels::Route> routes, int k) override;

 private:
  struct Layer {
    RandomBits random;
    int64_t row = 0;
    float structure = 1;            // c
    std::vector<float> liked;       // c S [experts]
    std::vector<float> slow, fast;  // [experts]
  };
  void advance(Layer* layer);  // to its next row: fills logits_

  std::vector<Layer> layers_;
  std::vector<float> logits_;  // [experts]
};

// Each row's experts drawn evenly from all: what random weights do, and the worst for any cache.
class UniformRouting final : public RouteTap {
 public:
  UniformRouting(const RoutingShape& shape, uint64_t seed);
  void begin_step(int64_t /*rows*/) override {}
  void on_routes(int layer, std::span<kernels::Route> routes, int k) override;

 private:
  struct Layer {
    RandomBits random;
    std::vector<int32_t> experts;  // a permutation
  };
  std::vector<Layer> layers_;
};

}  // namespace flashmoe::experts
