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

// What made-up routings share: rows are drawn one after the other, when their routes are wanted or
// guessed at. Guesses come true as often as those of trained models, where the next layer's router,
// applied a layer early, names 81 to 89 % of its picks (published for Qwen3.5 models): the least of
// these. Whether somebody guesses does not change the routes.
class MadeUpRouting : public RouteTap {
 public:
  void begin_step(int64_t rows) override;
  void on_routes(int layer, std::span<kernels::Route> routes, int k) override;
  void on_early_routes(int layer, std::span<kernels::Route> routes, int k) override;

 protected:
  MadeUpRouting(const RoutingShape& shape, uint64_t seed)
      : doubts_{~seed}, guessed_at_(static_cast<size_t>(shape.layers)) {}
  // The experts of the layer's next row.
  virtual void pick(int layer, std::span<kernels::Route> row) = 0;
  // Makes a guess of the row just picked.
  virtual void guess(int layer, std::span<kernels::Route> row) = 0;

  RandomBits doubts_;  // what guesses are made with

 private:
  std::vector<std::vector<int32_t>> guessed_at_;  // of each layer: picks of this step's rows
};

// As trained models route: some experts liked for a while, many picks like the last token's. The k
// experts of the largest
//   z_e(t) = c (S_e + 0.8 slow_e(t) + fast_e(t)) + 0.5 noise_e(t)
// in each layer, all terms of unit variance: S drawn anew every kSessionRows rows; slow and fast
// autoregressive with half-lives of 12 and 1 rows; c is 0.6 in the first quarter of the layers,
// where routers are less decided, else 1. Fitted to published statistics of models of 512 experts
// of which 10 are picked (docs/experiments.md). A guess takes the largest of z with another noise.
class SyntheticRouting final : public MadeUpRouting {
 public:
  static constexpr int kSessionRows = 150;

  SyntheticRouting(const RoutingShape& shape, uint64_t seed);

 private:
  struct Layer {
    RandomBits random;
    int64_t row = 0;
    float structure = 1;            // c
    std::vector<float> liked;       // c S [experts]
    std::vector<float> slow, fast;  // [experts]
  };
  void pick(int layer, std::span<kernels::Route> row) override;
  void guess(int layer, std::span<kernels::Route> row) override;

  std::vector<Layer> layers_;
  std::vector<float> logits_;  // [experts], of the last row
};

// Each row's experts drawn evenly from all: what random weights do, and the worst for any cache.
// A guess has others in place of some; the first pick is nearly always named, the last less often.
class UniformRouting final : public MadeUpRouting {
 public:
  UniformRouting(const RoutingShape& shape, uint64_t seed);

 private:
  void pick(int layer, std::span<kernels::Route> row) override;
  void guess(int layer, std::span<kernels::Route> row) override;

  struct Layer {
    RandomBits random;
    std::vector<int32_t> experts;  // a permutation
  };
  std::vector<Layer> layers_;
};

}  // namespace flashmoe::experts
