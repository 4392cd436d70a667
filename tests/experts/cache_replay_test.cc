#include "experts/cache_replay.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <list>
#include <map>
#include <optional>
#include <random>
#include <set>

#include "experts/expert_cache.h"
#include "experts/routing_source.h"
#include "experts/synthetic_routing.h"
#include "tests/experts/traces.h"

namespace flashmoe::experts {
namespace {

RoutingTrace random_trace(const RoutingShape& shape, const std::vector<int64_t>& step_rows,
                          uint64_t seed) {
  SyntheticRouting routing(shape, seed);
  return generate_trace(routing, shape, step_rows);
}

// The distinct keys of each layer of each step, in order.
std::vector<std::set<ExpertKey>> groups(const RoutingTrace& trace) {
  std::vector<std::set<ExpertKey>> groups;
  for (const TraceStep& step : trace.steps) {
    const int64_t width = step.rows * trace.shape.k;
    for (int layer = 0; layer < trace.shape.layers; ++layer) {
      std::set<ExpertKey>& keys = groups.emplace_back();
      for (int64_t i = layer * width; i < (layer + 1) * width; ++i) {
        keys.insert(layer * trace.shape.experts + step.picks[static_cast<size_t>(i)]);
      }
    }
  }
  return groups;
}

// The fewest misses of any cache: all sets of resident experts are followed, group by group.
int64_t fewest_misses(const RoutingTrace& trace, int slots) {
  std::map<uint32_t, int64_t> misses_by_state = {{0, 0}};
  for (const std::set<ExpertKey>& keys : groups(trace)) {
    uint32_t wanted = 0;
    for (const ExpertKey key : keys) wanted |= 1u << key;
    std::map<uint32_t, int64_t> next;
    for (const auto& [state, misses] : misses_by_state) {
      const int64_t after = misses + std::popcount(wanted & ~state);
      // Any subset of what was resident may stay beside what is wanted.
      const uint32_t others = state & ~wanted;
      for (uint32_t stay = others;; stay = (stay - 1) & others) {
        if (std::popcount(stay | wanted) <= slots) {
          const auto [it, added] = next.insert({stay | wanted, after});
          if (!added) it->second = std::min(it->second, after);
        }
        if (stay == 0) break;
      }
    }
    misses_by_state = std::move(next);
  }
  int64_t fewest = INT64_MAX;
  for (const auto& [state, misses] : misses_by_state) fewest = std::min(fewest, misses);
  return fewest;
}

TEST(CacheReplayTest, BeladyIsTheOptimum) {
  struct Case {
    RoutingShape shape;
    std::vector<int64_t> rows;
  };
  const std::vector<Case> cases = {{{1, 7, 2}, single_rows(14)},
                                   {{2, 5, 2}, single_rows(10)},
                                   {{3, 4, 1}, single_rows(10)},
                                   {{2, 5, 1}, {3, 1, 1, 2, 1, 1, 3, 1}}};
  for (uint64_t seed = 0; seed < 30; ++seed) {
    for (const Case& c : cases) {
      const RoutingTrace trace = random_trace(c.shape, c.rows, seed);
      const CacheReplay replay(trace);
      for (int slots = 3; slots <= 6; ++slots) {
        const int64_t best = fewest_misses(trace, slots);
        EXPECT_EQ(replay.run(ReplayPolicy::kBelady, slots).all().misses, best) << seed;
        for (const ReplayPolicy policy :
             {ReplayPolicy::kLru, ReplayPolicy::kLfu, ReplayPolicy::kOurs}) {
          EXPECT_GE(replay.run(policy, slots).all().misses, best);
        }
      }
    }
  }
}

// A cache written down plainly: `worth` says which resident expert goes, the least first.
template <typename Worth>
int64_t plain_misses(const RoutingTrace& trace, size_t slots, const Worth& worth) {
  std::set<ExpertKey> resident;
  std::map<ExpertKey, std::vector<int64_t>> uses;  // visit numbers
  int64_t misses = 0, visit = 0;
  for (const std::set<ExpertKey>& keys : groups(trace)) {
    std::vector<ExpertKey> missing;
    for (const ExpertKey key : keys) {
      uses[key].push_back(visit++);
      if (!resident.contains(key)) missing.push_back(key);
    }
    for (const ExpertKey key : missing) {
      ++misses;
      if (resident.size() == slots) {
        std::optional<ExpertKey> victim;
        for (const ExpertKey r : resident) {
          if (keys.contains(r)) continue;
          if (!victim || worth(uses[r]) < worth(uses[*victim])) victim = r;
        }
        resident.erase(*victim);
      }
      resident.insert(key);
    }
  }
  return misses;
}

TEST(CacheReplayTest, LruAndLfuAreWhatTheirNamesSay) {
  const RoutingTrace trace = random_trace({3, 20, 3}, single_rows(80), 4);
  const CacheReplay replay(trace);
  for (const int64_t slots : {6, 10, 25}) {
    EXPECT_EQ(replay.run(ReplayPolicy::kLru, slots).all().misses,
              plain_misses(trace, static_cast<size_t>(slots),
                           [](const std::vector<int64_t>& uses) { return uses.back(); }));
    EXPECT_EQ(replay.run(ReplayPolicy::kLfu, slots).all().misses,
              plain_misses(trace, static_cast<size_t>(slots), [](const std::vector<int64_t>& uses) {
                return std::pair(uses.size(), uses.back());
              }));
  }
}

// As the real cache, visited as StreamedMoe does when all of a layer's experts are in flight.
TEST(CacheReplayTest, OursMissesWhatTheExpertCacheMisses) {
  constexpr size_t kPage = 4096;
  const RoutingShape shape{4, 32, 4};
  std::vector<int64_t> rows = single_rows(120);
  rows[0] = 5;
  rows[60] = 4;
  const RoutingTrace trace = random_trace(shape, rows, 8);
  for (const int64_t slots : {24, 40, 90}) {
    const ExpertIndex index(shape.layers, shape.experts);
    ExpertCache cache(index, std::vector<size_t>(4, kPage), static_cast<size_t>(slots) * kPage);
    int64_t misses = 0, group = 0;
    for (const std::set<ExpertKey>& keys : groups(trace)) {
      const TraceStep& step = trace.steps[static_cast<size_t>(group / shape.layers)];
      const int64_t layer = group++ % shape.layers;
      if (layer == 0) cache.begin_step(step.rows);
      std::vector<ExpertPin> pins;
      std::vector<ExpertKey> missing;
      for (const ExpertKey key : keys) {
        std::vector<int32_t> ages;
        for (int64_t i = 0; i < step.rows * shape.k; ++i) {
          const int64_t pick = step.picks[static_cast<size_t>(layer * step.rows * shape.k + i)];
          if (layer * shape.experts + pick != key) continue;
          ages.push_back(static_cast<int32_t>(step.rows - 1 - i / shape.k));
        }
        cache.visit(key, ages);
        if (std::optional<ExpertPin> pin = cache.find(key)) {
          pins.push_back(std::move(*pin));
        } else {
          missing.push_back(key);
        }
      }
      misses += static_cast<int64_t>(missing.size());
      for (const ExpertKey key : missing) {
        std::optional<ExpertPin> slot = cache.reserve(key);
        ASSERT_TRUE(slot);
        slot->publish();
        pins.push_back(std::move(*slot));
      }
    }
    EXPECT_EQ(CacheReplay(trace).run(ReplayPolicy::kOurs, slots).all().misses, misses) << slots;
  }
}

TEST(CacheReplayTest, SplitsColdFromWarmAndFirstTouches) {
  // Five steps of one layer: two rows of eight are the cold quarter.
  const RoutingTrace trace{
      "m",
      {1, 8, 1},
      {{2, {0, 1}, {}}, {1, {0}, {}}, {1, {2}, {}}, {1, {0}, {}}, {3, {1, 1, 0}, {}}}};
  const ReplayResult result = CacheReplay(trace).run(ReplayPolicy::kLru, 2);
  EXPECT_EQ(result.cold.visits, 2);
  EXPECT_EQ(result.cold.misses, 2);
  EXPECT_EQ(result.cold.first_touches, 2);
  EXPECT_EQ(result.warm.visits, 5);
  EXPECT_EQ(result.warm.misses, 2);  // expert 2, and 1 that had to go for it
  EXPECT_EQ(result.warm.first_touches, 1);
  EXPECT_EQ(result.all().misses, 4);
  EXPECT_DOUBLE_EQ(result.warm.hit_share(), 0.6);
}

TEST(CacheReplayTest, WorksWithFewerSlotsThanALayerVisits) {
  const RoutingTrace trace = random_trace({2, 16, 4}, {1, 6, 1, 1}, 3);
  int64_t visits = 0;
  for (const std::set<ExpertKey>& keys : groups(trace)) visits += std::ssize(keys);
  for (const ReplayPolicy policy :
       {ReplayPolicy::kLru, ReplayPolicy::kLfu, ReplayPolicy::kOurs, ReplayPolicy::kBelady}) {
    const ReplayCount count = CacheReplay(trace).run(policy, 1).all();
    EXPECT_EQ(count.visits, visits);
    EXPECT_LE(count.misses, visits);
    EXPECT_GE(count.misses, visits - 4);
  }
}

}  // namespace
}  // namespace flashmoe::experts
