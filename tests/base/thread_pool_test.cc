#include "base/thread_pool.h"

#include <gtest/gtest.h>

#include <chrono>
#include <numeric>
#include <vector>

namespace flashmoe {
namespace {

TEST(ThreadPoolTest, RunsEveryTaskOnce) {
  for (const int threads : {1, 2, 3, 8}) {
    ThreadPool pool(threads);
    EXPECT_EQ(pool.threads(), threads);
    for (const int tasks : {0, 1, 2, 3, 7, 100, 1000}) {
      std::vector<int> count(static_cast<size_t>(tasks));
      pool.run(tasks, [&](int i) noexcept { ++count[static_cast<size_t>(i)]; });
      EXPECT_EQ(count, std::vector<int>(static_cast<size_t>(tasks), 1));
    }
  }
}

// Short jobs back to back: threads that come late meet the next job half set up.
TEST(ThreadPoolTest, ManyShortJobs) {
  for (const int threads : {2, 5}) {
    ThreadPool pool(threads);
    std::vector<int64_t> sums(16);
    int64_t expected = 0;
    for (int job = 0; job < 5000; ++job) {
      const int tasks = 1 + job % 16;
      pool.run(tasks, [&, job](int i) noexcept { sums[static_cast<size_t>(i)] += job; });
      expected += int64_t{tasks} * job;
    }
    EXPECT_EQ(std::accumulate(sums.begin(), sums.end(), int64_t{0}), expected);
  }
}

TEST(ThreadPoolTest, WakesAfterSleeping) {
  ThreadPool pool(2);
  for (int round = 0; round < 5; ++round) {
    std::this_thread::sleep_for(std::chrono::milliseconds(2));  // far longer than threads spin
    std::atomic<int> met{0};
    // Each task waits for the other one: only two threads can finish this.
    pool.run(2, [&](int) noexcept {
      ++met;
      while (met < 2) std::this_thread::yield();
    });
    EXPECT_EQ(met, 2);
  }
}

TEST(ThreadPoolTest, TakesConstAndMutableCallables) {
  ThreadPool pool(2);
  std::atomic<int> sum{0};
  const auto constant = [&](int i) { sum += i; };
  pool.run(10, constant);
  auto plain = [&](int i) { sum += i; };
  pool.run(10, plain);
  EXPECT_EQ(sum, 90);
}

TEST(ThreadPoolTest, IdlePoolsAreDestroyed) {
  for (int i = 0; i < 100; ++i) ThreadPool pool(4);
}

TEST(ThreadPoolDeathTest, RefusesNestedRuns) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  for (const int threads : {1, 2}) {
    EXPECT_DEATH(
        {
          ThreadPool pool(threads);
          pool.run(4, [&](int) noexcept { pool.run(2, [](int) noexcept {}); });
        },
        "CHECK.*running_");
  }
}

}  // namespace
}  // namespace flashmoe
