#include "engine/predict.h"

#include <algorithm>
#include <array>
#include <cmath>

namespace flashmoe::engine {

namespace {

int64_t macs(const kernels::Matrix& m) { return m.rows * m.cols; }
int64_t macs(const kernels::FeedForward& f) { return macs(f.gate) + macs(f.up) + macs(f.down); }

int64_t dense_macs(const model::LayerWeights& l) {
  const auto& a = l.attention;
  const auto& d = l.delta;
  return macs(a.q) + macs(a.gate) + macs(a.k) + macs(a.v) + macs(a.out) + macs(d.qkv) + macs(d.z) +
         macs(d.beta) + macs(d.dt) + macs(d.out) + macs(l.router) + macs(l.shared) +
         macs(l.shared_gate);
}

struct Between {
  size_t index;  // of the point below; there is one above
  double part;   // of the way to that
};

// Where a value lies among ascending points; one outside counts as the nearest.
template <size_t kCount>
Between between(const std::array<double, kCount>& points, double value) {
  size_t index = 0;
  while (index + 2 < kCount && points[index + 1] <= value) ++index;
  const double part = (value - points[index]) / (points[index + 1] - points[index]);
  return {index, std::clamp(part, 0.0, 1.0)};
}

double over(double amount, double rate) { return rate > 0 ? amount / rate : 0; }

}  // namespace

Workload make_workload(const model::WeightsPlan& weights, const model::ModelConfig& config,
                       const model::StateShape& state) {
  const model::Weights& shapes = weights.shapes();
  const experts::ExpertIndex& index = weights.expert_index();
  Workload w;
  w.dense_bytes = weights.token_file_bytes();
  w.layers = config.routed_layers();
  w.experts = config.moe.experts;
  w.k = config.moe.experts_per_token;
  if (w.layers > 0) {
    w.expert_bytes =
        index.total_bytes() / (static_cast<uint64_t>(w.layers) * static_cast<uint64_t>(w.experts));
  }
  w.kv_token_bytes = state.page_bytes() / kernels::kPageTokens;
  w.recurrent_bytes = state.recurrent_bytes();
  for (const model::LayerWeights& l : shapes.layers) w.dense_macs += dense_macs(l);
  w.head_macs = macs(shapes.head);
  w.expert_macs = int64_t{3} * config.moe.intermediate * config.hidden;
  return w;
}

double expected_hit_rate(double cache_share, int experts, int k, bool uniform) {
  const double share = std::clamp(cache_share, 0.0, 1.0);
  if (uniform || k == 0) return share;
  // Experts for each that is picked: 64 of 8, 128 of 8, 256 of 8, 512 of 10.
  static constexpr std::array kRatios = {8.0, 16.0, 32.0, 51.2};
  static constexpr std::array kShares = {0.0,    1 / 64., 1 / 32., 1 / 16., 1 / 8.,
                                         1 / 4., 3 / 8.,  1 / 2.,  3 / 4.,  1.0};
  static constexpr double kHitRates[kRatios.size()][kShares.size()] = {
      {0, 0.050, 0.123, 0.247, 0.432, 0.665, 0.802, 0.885, 0.963, 1},
      {0, 0.107, 0.207, 0.353, 0.544, 0.754, 0.848, 0.901, 0.961, 1},
      {0, 0.175, 0.294, 0.453, 0.636, 0.785, 0.856, 0.899, 0.952, 1},
      {0, 0.220, 0.346, 0.501, 0.668, 0.790, 0.851, 0.887, 0.943, 1}};
  const auto [ratio, ratio_part] = between(kRatios, static_cast<double>(experts) / k);
  const auto [column, share_part] = between(kShares, share);
  const auto of_ratio = [column = column, part = share_part](size_t row) {
    return std::lerp(kHitRates[row][column], kHitRates[row][column + 1], part);
  };
  return std::lerp(of_ratio(ratio), of_ratio(ratio + 1), ratio_part);
}

double expected_experts(int experts, int k, int64_t rows) {
  if (experts == 0) return 0;
  const double missed = std::pow(1 - static_cast<double>(k) / experts, static_cast<double>(rows));
  return experts * (1 - missed);
}

const char* bound_name(Bound bound) {
  switch (bound) {
    case Bound::kMemory:
      return "memory";
    case Bound::kDisk:
      return "disk";
    default:
      return "arithmetic";
  }
}

Bounded least_time(double memory_bytes, double disk_bytes, double ops,
                   const MachineLimits& limits) {
  Bounded longest{over(memory_bytes, limits.memory_bytes_s), Bound::kMemory};
  for (const Bounded& other : {Bounded{over(disk_bytes, limits.disk_bytes_s), Bound::kDisk},
                               Bounded{over(ops, limits.int8_ops_s), Bound::kArithmetic}}) {
    if (other.seconds > longest.seconds) longest = other;
  }
  return longest;
}

Prediction predict_decode(const Workload& work, double hit_rate, int64_t context,
                          const MachineLimits& limits) {
  Prediction p;
  p.memory_bytes = static_cast<double>(work.token_bytes());
  p.state_bytes = static_cast<double>(work.state_bytes(context));
  p.disk_bytes =
      (1 - hit_rate) * static_cast<double>(work.picks()) * static_cast<double>(work.expert_bytes);
  const Bounded time = least_time(p.memory_bytes + p.state_bytes, p.disk_bytes,
                                  2.0 * static_cast<double>(work.macs()), limits);
  p.tok_s = over(1, time.seconds);
  p.bound = time.bound;
  return p;
}

Prediction predict_prompt(const Workload& work, double cache_share, int64_t tokens, int64_t chunk,
                          const MachineLimits& limits) {
  Prediction p;
  Bounded total;
  double longest_s = 0;
  for (int64_t done = 0; done < tokens; done += chunk) {
    const int64_t rows = std::min(chunk, tokens - done);
    const double expert_bytes = work.layers * expected_experts(work.experts, work.k, rows) *
                                static_cast<double>(work.expert_bytes);
    const double memory_bytes = static_cast<double>(work.dense_bytes) + expert_bytes;
    const double disk_bytes = (1 - std::clamp(cache_share, 0.0, 1.0)) * expert_bytes;
    const double row_macs = static_cast<double>(work.dense_macs + work.picks() * work.expert_macs);
    const double ops = 2 * (row_macs * static_cast<double>(rows) +
                            (done + rows == tokens ? static_cast<double>(work.head_macs) : 0));
    const double state_bytes = static_cast<double>(work.state_bytes(done + rows));
    const Bounded time = least_time(memory_bytes + state_bytes, disk_bytes, ops, limits);
    p.memory_bytes += memory_bytes / static_cast<double>(tokens);
    p.state_bytes += state_bytes / static_cast<double>(tokens);
    p.disk_bytes += disk_bytes / static_cast<double>(tokens);
    total.seconds += time.seconds;
    if (time.seconds > longest_s) {
      longest_s = time.seconds;
      p.bound = time.bound;
    }
  }
  p.tok_s = over(static_cast<double>(tokens), total.seconds);
  return p;
}

}  // namespace flashmoe::engine
