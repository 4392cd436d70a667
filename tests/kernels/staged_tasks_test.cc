#include "kernels/host/staged_tasks.h"

#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <vector>

namespace flashmoe::kernels::host {
namespace {

// Every unit is done once, and sees all of the stage that its own waits for, whatever the threads
// do and whoever owns it.
TEST(StagedTasksTest, AStageWaitsForTheOneItFollows) {
  for (const int threads : {1, 2, 5}) {
    ThreadPool pool(threads);
    StagedTasks tasks;
    for (int round = 0; round < 200; ++round) {
      constexpr int kChains = 6, kLength = 4, kUnits = 7;
      const int grain = 1 + round % 9;
      tasks.clear();
      std::vector<int> after(kChains, StagedTasks::kNothing), chain_of, depth_of;
      for (int depth = 0; depth < kLength; ++depth) {
        for (int chain = 0; chain < kChains; ++chain) {
          const int owner = (chain + round) % 3 == 0 ? StagedTasks::kEveryone : chain + depth;
          after[chain] = tasks.add(kUnits, grain, after[chain], owner);
          chain_of.push_back(chain);
          depth_of.push_back(depth);
        }
      }
      std::vector<std::atomic<int>> done(kChains), runs(kChains * kLength * kUnits);
      std::atomic<int> early{0}, long_ones{0};
      tasks.run(pool, [&](int stage, int64_t begin, int64_t end) noexcept {
        if (done[chain_of[stage]].load() < depth_of[stage] * kUnits) ++early;
        if (end - begin > grain) ++long_ones;
        for (int64_t i = begin; i < end; ++i) ++runs[stage * kUnits + i];
        done[chain_of[stage]] += static_cast<int>(end - begin);
      });
      ASSERT_EQ(early, 0);
      ASSERT_EQ(long_ones, 0);
      for (const std::atomic<int>& n : runs) ASSERT_EQ(n, 1);
    }
  }
}

// Whoever comes first does the others' work too, each run from its beginning.
TEST(StagedTasksTest, OneThreadDoesEverythingInOrder) {
  ThreadPool pool(1);
  StagedTasks tasks;
  tasks.add(5, 2);
  tasks.add(3, 1, 0, 7);
  std::vector<std::array<int64_t, 3>> seen;
  tasks.run(pool, [&](int stage, int64_t begin, int64_t end) noexcept {
    seen.push_back({stage, begin, end});
  });
  const std::vector<std::array<int64_t, 3>> expected = {{0, 0, 2}, {0, 2, 4}, {0, 4, 5},
                                                        {1, 0, 1}, {1, 1, 2}, {1, 2, 3}};
  EXPECT_EQ(seen, expected);
}

TEST(StagedTasksTest, ListsAreUsedAgain) {
  ThreadPool pools[] = {ThreadPool(2), ThreadPool(3)};
  StagedTasks tasks;
  for (int n = 0; n < 40; ++n) {
    tasks.clear();
    int64_t expected = 0;
    for (int s = 0; s < n; ++s) {
      tasks.add(s, 3, s - 1);
      expected += s;
    }
    std::atomic<int64_t> sum{0};
    tasks.run(pools[n % 2], [&](int, int64_t begin, int64_t end) noexcept { sum += end - begin; });
    EXPECT_EQ(sum, expected);
  }
}

}  // namespace
}  // namespace flashmoe::kernels::host
