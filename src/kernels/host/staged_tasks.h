// The work of one parallel region, in stages that wait for one another instead of for a barrier.
// Every thread has a run of its own in each stage, because reading on in memory is much faster than
// beginning somewhere else; one that has finished its runs takes half of what another has left.
// Owns the stages; what a unit of work is, and does, is the caller's.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <memory>
#include <vector>

#include "base/check.h"
#include "base/thread_pool.h"

namespace flashmoe::kernels::host {

class StagedTasks {
 public:
  static constexpr int kNothing = -1, kEveryone = -1;

  void clear() { stages_.clear(); }
  int stages() const { return static_cast<int>(stages_.size()); }

  // A new stage of the units [0, units), done in tasks of `grain`, which begin when the stage
  // `after` is done. They are divided among the threads, or all are one's: `owner`, at any number.
  // Threads go through the stages in the order these were added. Returns its number.
  int add(int64_t units, int64_t grain, int after = kNothing, int owner = kEveryone) {
    CHECK(grain > 0 && after < stages());
    stages_.push_back({units, grain, after, owner});
    return stages() - 1;
  }

  // Calls run(stage, begin, end) for all units of every stage, and returns when all are done.
  template <typename F>
  void run(ThreadPool& pool, F&& run) noexcept {
    arm(pool.threads());
    pool.run(threads_, [&](int me) noexcept {
      for (int s = 0; s < stages(); ++s) take(s, me, run);
      for (int s = 0; s < stages(); ++s) help(s, me, run);
    });
  }

 private:
  struct Stage {
    int64_t units, grain;
    int after, owner;
  };
  // What is left of a thread's part of a stage. A range never comes back once it was changed, as
  // its first units are begun or its last ones are another's: comparing it is enough to change it.
  struct alignas(8) Range {  // so that it is changed in one piece without a lock
    int32_t begin, end;
  };
  struct alignas(64) Run {  // a cache line each
    std::atomic<Range> left;
    static_assert(std::atomic<Range>::is_always_lock_free);
  };
  struct alignas(64) Countdown {
    std::atomic<int64_t> units;
  };

  Run& run_of(int stage, int thread) { return runs_[stage * threads_ + thread]; }

  // Does what is left of my run.
  template <typename F>
  void take(int stage, int me, F& run) noexcept {
    const Stage& s = stages_[stage];
    std::atomic<Range>& mine = run_of(stage, me).left;
    Range range = mine.load(std::memory_order_relaxed);
    while (range.begin < range.end) {
      const int32_t next =
          static_cast<int32_t>(std::min<int64_t>(range.end, range.begin + s.grain));
      if (!mine.compare_exchange_weak(range, {next, range.end}, std::memory_order_relaxed))
        continue;
      if (s.after != kNothing) finish(s.after, me, run);
      run(stage, range.begin, next);
      left_[stage].units.fetch_sub(next - range.begin, std::memory_order_acq_rel);
      range = mine.load(std::memory_order_relaxed);
    }
  }

  // Does my part of what is left of the stage.
  template <typename F>
  void help(int stage, int me, F& run) noexcept {
    if (left_[stage].units.load(std::memory_order_acquire) == 0) return;
    do {
      take(stage, me, run);
    } while (steal(stage, me));
  }

  // Returns when the stage is done. What nobody has begun is done here, so that only what other
  // threads are doing is waited for: a stage waits for earlier ones alone, hence none for itself.
  template <typename F>
  void finish(int stage, int me, F& run) noexcept {
    help(stage, me, run);
    wait_until_done(left_[stage].units);
  }

  bool steal(int stage, int me) noexcept;
  void arm(int threads);
  static void wait_until_done(const std::atomic<int64_t>& units) noexcept;

  std::vector<Stage> stages_;
  int threads_ = 0;
  std::unique_ptr<Run[]> runs_;  // [stage, thread]
  std::unique_ptr<Countdown[]> left_;
  int capacity_ = 0;  // stages, for threads_ threads
};

}  // namespace flashmoe::kernels::host
