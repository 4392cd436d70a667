// The tasks of one parallel region, in stages that wait for one another instead of for a barrier: a
// thread that has no more to do in one stage goes on with the next, and only a task whose inputs
// are not there yet waits. Owns the list; what a task does is the caller's.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <vector>

#include "base/check.h"
#include "base/thread_pool.h"

namespace flashmoe::kernels::host {

class StagedTasks {
 public:
  static constexpr int kNothing = -1;

  void clear() {
    stages_.clear();
    tasks_.clear();
  }
  int stages() const { return static_cast<int>(stages_.size()); }

  // A new stage, whose tasks begin when those of the stage `after` are done. Returns its number.
  int add_stage(int after = kNothing) {
    CHECK(after < stages());
    stages_.push_back({after, 0});
    return stages() - 1;
  }
  // Appends the task of a stage that does [begin, end) of it. Tasks are begun in the order they
  // were added, so all tasks of a stage must have been added before the first one that waits for
  // it.
  void add(int stage, int64_t begin, int64_t end) {
    tasks_.push_back({stage, begin, end});
    ++stages_[stage].tasks;
  }

  // Calls run(stage, begin, end) for every task, and returns when all are done.
  template <typename F>
  void run(ThreadPool& pool, F&& run) noexcept {
    arm();
    pool.run(static_cast<int>(tasks_.size()), [&](int i) noexcept {
      const Task& task = tasks_[i];
      const int after = stages_[task.stage].after;
      // Whoever does the tasks before this one has begun them, and waits for none behind it.
      if (after != kNothing) wait_until_done(left_[after].tasks);
      run(task.stage, task.begin, task.end);
      left_[task.stage].tasks.fetch_sub(1, std::memory_order_acq_rel);
    });
  }

 private:
  struct Stage {
    int after;
    int tasks;
  };
  struct Task {
    int stage;
    int64_t begin, end;
  };
  struct alignas(64) Countdown {  // a cache line each
    std::atomic<int> tasks;
  };

  void arm();
  static void wait_until_done(const std::atomic<int>& tasks) noexcept;

  std::vector<Stage> stages_;
  std::vector<Task> tasks_;
  std::unique_ptr<Countdown[]> left_;
  int capacity_ = 0;  // of left_
};

}  // namespace flashmoe::kernels::host
