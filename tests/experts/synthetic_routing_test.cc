#include "experts/synthetic_routing.h"

#include <gtest/gtest.h>

#include <set>

#include "experts/cache_replay.h"
#include "experts/routing_source.h"
#include "experts/routing_stats.h"
#include "tests/experts/traces.h"

namespace flashmoe::experts {
namespace {

const RoutingShape kShape{48, 512, 10};

RoutingTrace synthetic(const RoutingShape& shape, int64_t tokens, uint64_t seed) {
  SyntheticRouting routing(shape, seed);
  return generate_trace(routing, shape, single_rows(tokens));
}

RoutingStats stats_of(const RoutingTrace& trace) {
  RoutingStats stats(trace.shape);
  for (const TraceStep& step : trace.steps) stats.add(step);
  return stats;
}

// The hit rate of caches of `slots` experts in each layer, least recently used first to go.
double lru_by_layer(const RoutingTrace& trace, int64_t slots) {
  ReplayCount warm;
  for (int layer = 0; layer < trace.shape.layers; ++layer) {
    warm += CacheReplay(one_layer(trace, layer)).run(ReplayPolicy::kLru, slots).warm;
  }
  return warm.hit_share();
}

// Measured of models of 512 experts, 10 picked, and what the formula gave where it was fitted: 33 %
// of picks as one token before, 15 % as eight before, 64 % of picks by the top tenth and 243
// experts touched in 150 tokens, LRU hits of 68 and 80 % with 64 and 128 slots a layer. The
// tolerances are a few times what other seeds change.
TEST(SyntheticRoutingTest, HasTheStatisticsOfTrainedModels) {
  for (const uint64_t seed : {1, 2}) {
    const RoutingTrace trace = synthetic(kShape, 150, seed);
    const RoutingStats stats = stats_of(trace);
    const RoutingStats::Layers all = stats.all_layers();
    EXPECT_NEAR(stats.overlap(0, all).share(), 0.33, 0.025);
    EXPECT_NEAR(stats.overlap(1, all).share(), 0.15, 0.02);
    EXPECT_NEAR(stats.share_of_top(0.1, all), 0.64, 0.02);
    EXPECT_NEAR(static_cast<double>(stats.unique(all)) / 48, 243, 10);
    EXPECT_NEAR(lru_by_layer(trace, 64), 0.68, 0.02);
    EXPECT_NEAR(lru_by_layer(trace, 128), 0.80, 0.025);
  }
}

// The check that the formula was not fitted to: 49, 59 and 68 % with 16, 32 and 64 slots a layer
// were measured when 4 of 512 experts are picked; the formula gave 47, 59 and 70.
TEST(SyntheticRoutingTest, HoldsForFewerExpertsOfARow) {
  const RoutingTrace trace = synthetic({48, 512, 4}, 150, 1);
  EXPECT_NEAR(lru_by_layer(trace, 16), 0.47, 0.03);
  EXPECT_NEAR(lru_by_layer(trace, 32), 0.59, 0.03);
  EXPECT_NEAR(lru_by_layer(trace, 64), 0.70, 0.03);
}

TEST(SyntheticRoutingTest, ChangesItsLikingsEverySession) {
  const RoutingTrace trace = synthetic({8, 512, 10}, 300, 1);
  const RoutingTrace other = synthetic({8, 512, 10}, 300, 2);
  const auto half = [](const RoutingTrace& t, size_t begin) {
    RoutingTrace part{t.model, t.shape, {}};
    part.steps.assign(t.steps.begin() + static_cast<ptrdiff_t>(begin),
                      t.steps.begin() + static_cast<ptrdiff_t>(begin) + 150);
    return part;
  };
  // The share of the second half's picks that the first half's most used 128 experts of a layer
  // have: no better within a run than across runs.
  const auto kept = [](const RoutingTrace& before, const RoutingTrace& after) {
    Recall recall;
    for (int layer = 0; layer < before.shape.layers; ++layer) {
      const std::vector<int64_t> counts = pick_counts(one_layer(before, layer));
      std::vector<std::pair<int64_t, int>> order;
      for (int e = 0; e < 512; ++e) order.push_back({-counts[static_cast<size_t>(e)], e});
      std::sort(order.begin(), order.end());
      std::set<int> top;
      for (size_t i = 0; i < 128; ++i) top.insert(order[i].second);
      const std::vector<int64_t> later = pick_counts(one_layer(after, layer));
      for (int e = 0; e < 512; ++e) {
        const int64_t n = later[static_cast<size_t>(e)];
        recall += {top.contains(e) ? n : 0, n};
      }
    }
    return recall.share();
  };
  EXPECT_NEAR(kept(half(trace, 0), half(trace, 150)), kept(half(other, 0), half(trace, 150)), 0.06);
  EXPECT_NEAR(kept(half(trace, 0), half(trace, 150)), 0.25, 0.06);
}

TEST(SyntheticRoutingTest, IsTheSameForASeedHoweverRowsComeInSteps) {
  const RoutingShape shape{4, 64, 6};
  for (const char* spec : {"synthetic", "uniform"}) {
    const auto picks = [&](std::vector<int64_t> rows, uint64_t seed) {
      const std::unique_ptr<RouteTap> tap = make_routing(spec, shape, seed);
      return by_row(generate_trace(*tap, shape, rows));
    };
    EXPECT_EQ(picks({1, 1, 1, 1, 1, 1, 1, 1}, 5), picks({3, 4, 1}, 5));
    EXPECT_NE(picks({8}, 5), picks({8}, 6));
  }
}

TEST(SyntheticRoutingTest, PicksDifferentExpertsLikeliestFirst) {
  for (const RoutingShape& shape : {RoutingShape{2, 4, 4}, {3, 7, 2}, {1, 1, 1}, {2, 512, 10}}) {
    for (const char* spec : {"synthetic", "uniform"}) {
      const std::unique_ptr<RouteTap> tap = make_routing(spec, shape, 1);
      const RoutingTrace trace = generate_trace(*tap, shape, single_rows(50));
      for (const TraceStep& step : trace.steps) {
        for (size_t at = 0; at < step.picks.size(); at += static_cast<size_t>(shape.k)) {
          const std::set<uint16_t> row(step.picks.begin() + static_cast<ptrdiff_t>(at),
                                       step.picks.begin() + static_cast<ptrdiff_t>(at) + shape.k);
          ASSERT_EQ(row.size(), static_cast<size_t>(shape.k)) << spec;
          ASSERT_LT(*row.rbegin(), shape.experts);
        }
      }
    }
  }
}

// A pick that is likelier than the others is also likelier to be picked again.
TEST(SyntheticRoutingTest, RanksMatter) {
  const RoutingTrace trace = synthetic({16, 512, 10}, 300, 1);
  Recall first, last;
  for (size_t t = 1; t < trace.steps.size(); ++t) {
    for (int layer = 0; layer < 16; ++layer) {
      const uint16_t* before = trace.steps[t - 1].picks.data() + layer * 10;
      const uint16_t* now = trace.steps[t].picks.data() + layer * 10;
      first += {std::count(now, now + 10, before[0]), 1};
      last += {std::count(now, now + 10, before[9]), 1};
    }
  }
  EXPECT_GT(first.share(), last.share() + 0.1);
}

// As published for the next layer's router, applied a layer early, in trained models.
TEST(SyntheticRoutingTest, GuessesComeTrueAsThoseOfTrainedModels) {
  for (const RoutingShape& shape : {RoutingShape{8, 512, 10}, {8, 256, 8}}) {
    for (const char* spec : {"synthetic", "uniform"}) {
      const std::unique_ptr<RouteTap> tap = make_routing(spec, shape, 3);
      const size_t k = static_cast<size_t>(shape.k);
      std::vector<Recall> ranks(k);
      for (int step = 0; step < 200; ++step) {
        std::vector<kernels::Route> guess(2 * k), picks(2 * k);
        tap->begin_step(2);
        for (int layer = 0; layer < shape.layers; ++layer) {
          tap->on_early_routes(layer, guess, shape.k);
          tap->on_routes(layer, picks, shape.k);
          for (size_t i = 0; i < guess.size(); ++i) {
            const auto row = picks.begin() + static_cast<ptrdiff_t>(i / k * k);
            ranks[i % k] += {
                std::count_if(row, row + shape.k,
                              [&](const kernels::Route& r) { return r.expert == guess[i].expert; }),
                1};
          }
        }
      }
      Recall all;
      for (const Recall& rank : ranks) all += rank;
      EXPECT_NEAR(all.share(), 0.81, 0.015) << spec << " of " << shape.experts;
      EXPECT_GT(ranks.front().share(), 0.95);
      EXPECT_LT(ranks.back().share(), 0.7);
    }
  }
}

TEST(SyntheticRoutingTest, IsTheSameWhetherGuessedOrNot) {
  const RoutingShape shape{3, 64, 6};
  for (const char* spec : {"synthetic", "uniform"}) {
    std::vector<std::vector<int32_t>> picks;
    for (const bool guess : {false, true}) {
      const std::unique_ptr<RouteTap> tap = make_routing(spec, shape, 5);
      std::vector<int32_t>& to = picks.emplace_back();
      for (int step = 0; step < 20; ++step) {
        std::vector<kernels::Route> early(12), routes(12);
        tap->begin_step(2);
        for (int layer = 0; layer < shape.layers; ++layer) {
          if (guess && (step + layer) % 2 == 0) tap->on_early_routes(layer, early, shape.k);
          tap->on_routes(layer, routes, shape.k);
          for (const kernels::Route& r : routes) to.push_back(r.expert);
        }
      }
    }
    EXPECT_EQ(picks[0], picks[1]) << spec;
  }
}

TEST(UniformRoutingTest, IsEven) {
  const RoutingShape shape{2, 16, 3};
  UniformRouting routing(shape, 9);
  const std::vector<int64_t> counts =
      pick_counts(generate_trace(routing, shape, single_rows(20000)));
  // Of 20000 rows 3750 pick an expert, give or take 55 (one standard deviation).
  for (const int64_t count : counts) EXPECT_NEAR(static_cast<double>(count), 3750, 5 * 55);
  const RoutingTrace trace = generate_trace(routing, shape, single_rows(20000));
  EXPECT_NEAR(stats_of(trace).overlap(0, {0, 2}).share(), 3.0 / 16, 0.01);
}

// No policy can hit more than its share of experts, and Belady not much more.
TEST(UniformRoutingTest, GivesACacheOnlyItsShare) {
  const RoutingShape shape{8, 256, 8};
  UniformRouting routing(shape, 2);
  const CacheReplay replay(generate_trace(routing, shape, single_rows(600)));
  for (const ReplayPolicy policy : {ReplayPolicy::kLru, ReplayPolicy::kLfu, ReplayPolicy::kOurs}) {
    EXPECT_NEAR(replay.run(policy, shape.keys() / 4).warm.hit_share(), 0.25, 0.02);
  }
}

}  // namespace
}  // namespace flashmoe::experts
