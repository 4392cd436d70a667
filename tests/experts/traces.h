// Small things that several tests do with traces.
#pragma once

#include <cstdint>
#include <vector>

#include "experts/routing_trace.h"

namespace flashmoe::experts {

// The steps of a generation: one row each.
inline std::vector<int64_t> single_rows(int64_t steps) {
  return std::vector<int64_t>(static_cast<size_t>(steps), 1);
}

inline RoutingTrace one_layer(const RoutingTrace& trace, int layer) {
  RoutingTrace one{trace.model, {1, trace.shape.experts, trace.shape.k}, {}};
  for (const TraceStep& step : trace.steps) {
    const auto begin = step.picks.begin() + layer * step.rows * trace.shape.k;
    one.steps.push_back({step.rows, {begin, begin + step.rows * trace.shape.k}, {}});
  }
  return one;
}

// The picks of each row of the trace, [layers, k], whatever steps they came in.
inline std::vector<std::vector<uint16_t>> by_row(const RoutingTrace& trace) {
  std::vector<std::vector<uint16_t>> rows;
  const int64_t k = trace.shape.k;
  for (const TraceStep& step : trace.steps) {
    for (int64_t row = 0; row < step.rows; ++row) {
      std::vector<uint16_t>& picks = rows.emplace_back();
      for (int layer = 0; layer < trace.shape.layers; ++layer) {
        const auto begin = step.picks.begin() + (layer * step.rows + row) * k;
        picks.insert(picks.end(), begin, begin + k);
      }
    }
  }
  return rows;
}

// How often each expert is picked, [layers, experts].
inline std::vector<int64_t> pick_counts(const RoutingTrace& trace) {
  std::vector<int64_t> counts(static_cast<size_t>(trace.shape.keys()));
  for (const std::vector<uint16_t>& row : by_row(trace)) {
    for (size_t i = 0; i < row.size(); ++i) {
      const size_t layer = i / static_cast<size_t>(trace.shape.k);
      ++counts[layer * static_cast<size_t>(trace.shape.experts) + row[i]];
    }
  }
  return counts;
}

}  // namespace flashmoe::experts
