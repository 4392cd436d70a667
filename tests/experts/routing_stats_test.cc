#include "experts/routing_stats.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <set>

#include "experts/routing_source.h"
#include "experts/synthetic_routing.h"
#include "tests/experts/traces.h"

namespace flashmoe::experts {
namespace {

RoutingStats stats_of(const RoutingTrace& trace) {
  RoutingStats stats(trace.shape);
  for (const TraceStep& step : trace.steps) stats.add(step);
  return stats;
}

TEST(RoutingStatsTest, CountsASmallTraceByHand) {
  // One layer; rows pick 0 1, 0 2, 0 1, 3 0 in three steps.
  const RoutingTrace trace{
      "m", {1, 6, 2}, {{1, {0, 1}, {}}, {2, {0, 2, 0, 1}, {}}, {1, {3, 0}, {}}}};
  const RoutingStats stats = stats_of(trace);
  const RoutingStats::Layers all = stats.all_layers();
  EXPECT_EQ(stats.rows(), 4);
  EXPECT_EQ(stats.picks(), 8);
  EXPECT_EQ(stats.unique(all), 4);
  EXPECT_EQ(stats.experts_for(0.5, all), 1);   // 0 has 4 of 8
  EXPECT_EQ(stats.experts_for(0.75, all), 2);  // 1 has 2
  EXPECT_EQ(stats.experts_for(0.8, all), 3);
  EXPECT_EQ(stats.experts_for(1, all), 4);
  EXPECT_DOUBLE_EQ(stats.share_of_top(0.5, all), 7.0 / 8);
  EXPECT_EQ(stats.reuse(), (std::array<int64_t, 5>{3, 1, 0, 0, 0}));  // 0 thrice, 1 after two rows
  EXPECT_EQ(stats.overlap(0, all).found, 3);
  EXPECT_EQ(stats.overlap(0, all).picks, 6);
  EXPECT_EQ(stats.overlap(1, all).picks, 0);
  // Before the 2nd row 0 and 1 lead; before the 3rd 0, then 1 as it came before 2; before the 4th
  // 0 and 1.
  EXPECT_EQ(stats.most_frequent(all).found, 1 + 2 + 1);
  EXPECT_EQ(stats.most_frequent(all).picks, 6);
  EXPECT_TRUE(stats.early_by_rank().empty());
}

TEST(RoutingStatsTest, AgreesWithPlainDefinitions) {
  const RoutingShape shape{3, 24, 4};
  SyntheticRouting routing(shape, 5);
  std::vector<int64_t> rows = single_rows(150);
  rows[3] = 20;
  rows[70] = 9;
  const RoutingTrace trace = generate_trace(routing, shape, rows);
  const RoutingStats stats = stats_of(trace);
  for (int layer = 0; layer < shape.layers; ++layer) {
    const RoutingTrace one = one_layer(trace, layer);
    const auto picks = by_row(one);
    for (size_t i = 0; i < RoutingStats::kLags.size(); ++i) {
      const size_t lag = static_cast<size_t>(RoutingStats::kLags[i]);
      int64_t found = 0;
      for (size_t t = lag; t < picks.size(); ++t) {
        for (const uint16_t e : picks[t]) found += std::ranges::count(picks[t - lag], e);
      }
      EXPECT_EQ(stats.overlap(i, {layer, layer + 1}).found, found);
      EXPECT_EQ(stats.overlap(i, {layer, layer + 1}).picks,
                static_cast<int64_t>(picks.size() - lag) * shape.k);
    }
    std::vector<int64_t> counts = pick_counts(one);
    EXPECT_EQ(stats.unique({layer, layer + 1}), 24 - std::ranges::count(counts, 0));
    std::ranges::sort(counts, std::greater<>());
    EXPECT_DOUBLE_EQ(
        stats.share_of_top(0.25, {layer, layer + 1}),
        static_cast<double>(counts[0] + counts[1] + counts[2] + counts[3] + counts[4] + counts[5]) /
            static_cast<double>(picks.size() * 4));
    // Among the most used before: the ties may be broken in any way.
    std::vector<int64_t> before(24, 0);
    int64_t least = 0, most = 0;
    for (size_t t = 0; t < picks.size(); ++t) {
      std::vector<int64_t> sorted = before;
      std::ranges::sort(sorted, std::greater<>());
      for (const uint16_t e : picks[t]) {
        if (t == 0) continue;
        least += before[e] > sorted[4] ? 1 : 0;
        most += before[e] >= sorted[3] ? 1 : 0;
      }
      for (const uint16_t e : picks[t]) ++before[e];
    }
    EXPECT_GE(stats.most_frequent({layer, layer + 1}).found, least);
    EXPECT_LE(stats.most_frequent({layer, layer + 1}).found, most);
    EXPECT_LT(static_cast<double>(most - least), 0.2 * static_cast<double>(most));
  }
  // Reuse: rows since the same expert of the same layer.
  std::array<int64_t, 5> reuse{};
  std::map<std::pair<size_t, int>, int64_t> last;
  const auto picks = by_row(trace);
  for (size_t t = 0; t < picks.size(); ++t) {
    for (size_t i = 0; i < picks[t].size(); ++i) {
      const std::pair key(i / 4, picks[t][i]);
      if (const auto it = last.find(key); it != last.end()) {
        const int64_t gap = static_cast<int64_t>(t) - it->second;
        ++reuse[gap <= 1 ? 0 : gap <= 4 ? 1 : gap <= 16 ? 2 : gap <= 64 ? 3 : 4];
      }
      last[key] = static_cast<int64_t>(t);
    }
  }
  EXPECT_EQ(stats.reuse(), reuse);
}

TEST(RoutingStatsTest, JudgesEarlyPicksByRank) {
  const RoutingTrace trace{
      "m",
      {2, 6, 2},
      {{2, {0, 1, 2, 3, 4, 5, 1, 0}, {kNoPick, kNoPick, kNoPick, kNoPick, 5, 0, 1, 2}}}};
  const RoutingStats stats = stats_of(trace);
  EXPECT_EQ(stats.early({0, 1}).picks, 0);
  EXPECT_EQ(stats.early({0, 2}).picks, 4);
  EXPECT_EQ(stats.early({0, 2}).found, 2);
  ASSERT_EQ(stats.early_by_rank().size(), 2u);
  EXPECT_EQ(stats.early_by_rank()[0].found, 2);
  EXPECT_EQ(stats.early_by_rank()[1].found, 0);
}

}  // namespace
}  // namespace flashmoe::experts
