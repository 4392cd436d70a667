#include "kernels/host/staged_tasks.h"

#include <gtest/gtest.h>

#include <atomic>
#include <vector>

namespace flashmoe::kernels::host {
namespace {

// Every task sees all of the stage that its own waits for, whatever the threads do.
TEST(StagedTasksTest, AStageWaitsForTheOneItFollows) {
  for (const int threads : {1, 2, 5}) {
    ThreadPool pool(threads);
    StagedTasks tasks;
    for (int round = 0; round < 200; ++round) {
      constexpr int kChains = 6, kLength = 4, kTasks = 3;
      tasks.clear();
      std::vector<int> after(kChains, StagedTasks::kNothing), chain_of, depth_of;
      for (int depth = 0; depth < kLength; ++depth) {
        for (int chain = 0; chain < kChains; ++chain) {
          after[chain] = tasks.add_stage(after[chain]);
          chain_of.push_back(chain);
          depth_of.push_back(depth);
          for (int i = 0; i < kTasks; ++i) tasks.add(after[chain], i, i + 1);
        }
      }
      std::vector<std::atomic<int>> done(kChains);
      std::atomic<int> early{0}, ran{0};
      tasks.run(pool, [&](int stage, int64_t begin, int64_t end) noexcept {
        const int seen = done[chain_of[stage]].load();
        if (seen < depth_of[stage] * kTasks) ++early;
        if (end == begin + 1) ++ran;
        ++done[chain_of[stage]];
      });
      ASSERT_EQ(early, 0);
      ASSERT_EQ(ran, kChains * kLength * kTasks);
    }
  }
}

TEST(StagedTasksTest, ListsAreUsedAgain) {
  ThreadPool pool(2);
  StagedTasks tasks;
  for (int n = 0; n < 40; ++n) {
    tasks.clear();
    int64_t expected = 0;
    for (int s = 0; s < n; ++s) {
      const int stage = tasks.add_stage(s - 1);
      tasks.add(stage, s, 2 * s);
      expected += s;
    }
    std::atomic<int64_t> sum{0};
    tasks.run(pool, [&](int, int64_t begin, int64_t end) noexcept { sum += end - begin; });
    EXPECT_EQ(sum, expected);
  }
}

}  // namespace
}  // namespace flashmoe::kernels::host
