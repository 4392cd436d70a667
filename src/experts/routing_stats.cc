#include "experts/routing_stats.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <utility>

namespace flashmoe::experts {

namespace {

constexpr int64_t kRecentRows = RoutingStats::kLags.back();

}  // namespace

double Recall::share() const {
  return picks > 0 ? static_cast<double>(found) / static_cast<double>(picks) : 0;
}

void Recall::operator+=(const Recall& other) {
  found += other.found;
  picks += other.picks;
}

RoutingStats::RoutingStats(const RoutingShape& shape)
    : shape_(shape),
      count_(static_cast<size_t>(shape.keys()), 0),
      order_(static_cast<size_t>(shape.keys())),
      rank_(order_.size()),
      last_row_(static_cast<size_t>(shape.keys()), -1),
      recent_(static_cast<size_t>(kRecentRows * shape.picks())),
      frequent_(static_cast<size_t>(shape.layers)),
      early_(static_cast<size_t>(shape.layers)),
      picked_(static_cast<size_t>(shape.experts)) {
  for (size_t i = 0; i < order_.size(); ++i) {
    order_[i] = rank_[i] = static_cast<uint16_t>(i % static_cast<size_t>(shape.experts));
  }
  overlap_.fill(ByLayer(static_cast<size_t>(shape.layers)));
}

void RoutingStats::add(const TraceStep& step) {
  for (int layer = 0; layer < shape_.layers; ++layer) {
    for (int64_t row = 0; row < step.rows; ++row) {
      const int64_t at = (layer * step.rows + row) * shape_.k;
      add_row(layer, rows_ + row, step.picks.data() + at,
              step.early.empty() ? nullptr : step.early.data() + at);
    }
  }
  rows_ += step.rows;
}

void RoutingStats::add_row(int layer, int64_t row, const uint16_t* picks, const uint16_t* early) {
  const int k = shape_.k;
  const size_t l = static_cast<size_t>(layer);
  for (int i = 0; i < k; ++i) picked_[picks[i]] = true;

  const auto recent = [&](int64_t of_row) {
    return recent_.data() + ((of_row % kRecentRows) * shape_.layers + layer) * k;
  };
  for (size_t i = 0; i < kLags.size(); ++i) {
    if (row < kLags[i]) continue;
    const uint16_t* before = recent(row - kLags[i]);
    overlap_[i][l] += {std::count_if(before, before + k, [&](int e) { return picked_[e]; }), k};
  }
  if (row > 0) {
    const uint16_t* rank = rank_.data() + l * static_cast<size_t>(shape_.experts);
    frequent_[l] += {std::count_if(picks, picks + k, [&](int e) { return rank[e] < k; }), k};
  }
  if (early != nullptr && early[0] != kNoPick) {
    early_by_rank_.resize(static_cast<size_t>(k));
    for (int i = 0; i < k; ++i) {
      const Recall one{picked_[early[i]] ? 1 : 0, 1};
      early_by_rank_[static_cast<size_t>(i)] += one;
      early_[l] += one;
    }
  }

  std::copy(picks, picks + k, recent(row));
  const size_t first_key = l * static_cast<size_t>(shape_.experts);
  for (int i = 0; i < k; ++i) {
    picked_[picks[i]] = false;
    count_pick(l, picks[i]);
    int64_t& last = last_row_[first_key + picks[i]];
    if (last >= 0) {
      const auto bound = std::ranges::lower_bound(kReuseBounds, row - last);
      ++reuse_[static_cast<size_t>(bound - kReuseBounds.begin())];
    }
    last = row;
  }
}

// Moves the expert up by one in count, and to the front of those that had as many as it.
void RoutingStats::count_pick(size_t layer, uint16_t expert) {
  const size_t experts = static_cast<size_t>(shape_.experts);
  int64_t* count = count_.data() + layer * experts;
  uint16_t* order = order_.data() + layer * experts;
  uint16_t* rank = rank_.data() + layer * experts;
  const int64_t old_count = count[expert];
  uint16_t* front = std::partition_point(order, order + rank[expert],
                                         [&](uint16_t e) { return count[e] > old_count; });
  rank[*front] = rank[expert];
  std::swap(*front, order[rank[expert]]);
  rank[expert] = static_cast<uint16_t>(front - order);
  ++count[expert];
}

int64_t RoutingStats::unique(Layers layers) const {
  const auto begin = count_.begin() + int64_t{layers.begin} * shape_.experts;
  const auto end = count_.begin() + int64_t{layers.end} * shape_.experts;
  return (end - begin) - std::count(begin, end, 0);
}

std::vector<int64_t> RoutingStats::sorted_counts(Layers layers) const {
  std::vector<int64_t> counts(count_.begin() + int64_t{layers.begin} * shape_.experts,
                              count_.begin() + int64_t{layers.end} * shape_.experts);
  std::ranges::sort(counts, std::greater<>());
  return counts;
}

int64_t RoutingStats::experts_for(double share, Layers layers) const {
  const double wanted = share * static_cast<double>(rows_ * shape_.k) *
                        static_cast<double>(layers.end - layers.begin);
  int64_t experts = 0, picks = 0;
  for (const int64_t count : sorted_counts(layers)) {
    if (static_cast<double>(picks) >= wanted) break;
    picks += count;
    ++experts;
  }
  return experts;
}

double RoutingStats::share_of_top(double fraction, Layers layers) const {
  const std::vector<int64_t> counts = sorted_counts(layers);
  const size_t top =
      static_cast<size_t>(std::lround(fraction * static_cast<double>(counts.size())));
  Recall result;
  for (size_t i = 0; i < counts.size(); ++i) result += {i < top ? counts[i] : 0, counts[i]};
  return result.share();
}

Recall RoutingStats::sum(const ByLayer& recalls, Layers layers) {
  Recall sum;
  for (int i = layers.begin; i < layers.end; ++i) sum += recalls[static_cast<size_t>(i)];
  return sum;
}

}  // namespace flashmoe::experts
