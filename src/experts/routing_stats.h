// What can be said of a routing without a cache: which experts are used how often, how soon again,
// and how well the next ones could have been foretold. Counts as steps go by, in memory that does
// not grow with them.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "experts/route_tap.h"
#include "experts/routing_trace.h"

namespace flashmoe::experts {

// How many picks were among those foretold.
struct Recall {
  int64_t found = 0, picks = 0;
  double share() const;
  void operator+=(const Recall& other);
};

class RoutingStats {
 public:
  explicit RoutingStats(const RoutingShape& shape);
  // Rows count as consecutive tokens of one sequence.
  void add(const TraceStep& step);

  const RoutingShape& shape() const { return shape_; }
  int64_t rows() const { return rows_; }
  int64_t picks() const { return rows_ * shape_.picks(); }

  // Half-open ranges of layers, for what is asked of some layers only.
  struct Layers {
    int begin, end;
  };
  Layers all_layers() const { return {0, shape_.layers}; }
  int64_t unique(Layers layers) const;  // experts used at least once
  // The fewest experts that had `share` of all the layers' picks.
  int64_t experts_for(double share, Layers layers) const;
  // The share of the layers' picks that their most used experts had; `fraction` of all experts.
  double share_of_top(double fraction, Layers layers) const;

  // Picks by the number of rows since the same expert was picked last: up to kReuseBounds[i], and
  // beyond the last bound.
  static constexpr std::array<int64_t, 4> kReuseBounds = {1, 4, 16, 64};
  const std::array<int64_t, kReuseBounds.size() + 1>& reuse() const { return reuse_; }

  // Picks that the row `lag` rows before also had, for each of kLags.
  static constexpr std::array<int, 3> kLags = {1, 8, 64};
  Recall overlap(size_t lag_index, Layers layers) const { return sum(overlap_[lag_index], layers); }
  // Picks among the k experts of the layer that were used most before.
  Recall most_frequent(Layers layers) const { return sum(frequent_, layers); }
  // Picks among those guessed a layer ahead; and of the guesses of each rank, those that came true.
  Recall early(Layers layers) const { return sum(early_, layers); }
  const std::vector<Recall>& early_by_rank() const { return early_by_rank_; }  // [k], or empty

 private:
  using ByLayer = std::vector<Recall>;
  static Recall sum(const ByLayer& recalls, Layers layers);
  void add_row(int layer, int64_t row, const uint16_t* picks, const uint16_t* early);
  void count_pick(size_t layer, uint16_t expert);
  std::vector<int64_t> sorted_counts(Layers layers) const;  // largest first

  RoutingShape shape_;
  int64_t rows_ = 0;
  std::vector<int64_t> count_;     // [layers, experts]
  std::vector<uint16_t> order_;    // [layers, experts]: a layer's experts, most used first
  std::vector<uint16_t> rank_;     // [layers, experts]: where an expert stands in that order
  std::vector<int64_t> last_row_;  // [layers, experts]; -1: never
  std::array<int64_t, kReuseBounds.size() + 1> reuse_{};
  std::vector<uint16_t> recent_;  // [kLags.back(), layers, k]: a ring of rows
  std::array<ByLayer, kLags.size()> overlap_;
  ByLayer frequent_, early_;
  std::vector<Recall> early_by_rank_;
  std::vector<bool> picked_;  // [experts], of the row at hand
};

}  // namespace flashmoe::experts
