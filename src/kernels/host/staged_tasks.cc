#include "kernels/host/staged_tasks.h"

#include <limits>
#include <thread>

#include "base/spin.h"

namespace flashmoe::kernels::host {

void StagedTasks::arm(int threads) {
  if (capacity_ < stages() || threads_ != threads) {
    if (capacity_ < stages()) capacity_ = std::max(stages(), 2 * capacity_);
    threads_ = threads;
    left_ = std::make_unique<Countdown[]>(static_cast<size_t>(capacity_));
    runs_ = std::make_unique<Run[]>(static_cast<size_t>(capacity_) * threads);
  }
  for (int s = 0; s < stages(); ++s) {
    const Stage& stage = stages_[s];
    CHECK(stage.units <= std::numeric_limits<int32_t>::max());
    left_[s].units.store(stage.units, std::memory_order_relaxed);
    const int64_t tasks = (stage.units + stage.grain - 1) / stage.grain;
    const auto begin_of = [&](int64_t t) {
      if (stage.owner != kEveryone) t = t > stage.owner % threads_ ? threads_ : 0;
      return static_cast<int32_t>(std::min(stage.units, tasks * t / threads_ * stage.grain));
    };
    for (int t = 0; t < threads_; ++t) {
      run_of(s, t).left.store({begin_of(t), begin_of(t + 1)}, std::memory_order_relaxed);
    }
  }
}

// Makes the second half of somebody's run mine, which must be empty; false: nothing was left.
bool StagedTasks::steal(int stage, int me) noexcept {
  const int64_t grain = stages_[stage].grain;
  for (int i = 1; i < threads_; ++i) {
    std::atomic<Range>& theirs = run_of(stage, (me + i) % threads_).left;
    Range range = theirs.load(std::memory_order_relaxed);
    while (range.begin < range.end) {
      const int64_t tasks = (range.end - range.begin + grain - 1) / grain;
      const int32_t middle = static_cast<int32_t>(range.begin + tasks / 2 * grain);
      if (!theirs.compare_exchange_weak(range, {range.begin, middle}, std::memory_order_relaxed)) {
        continue;
      }
      run_of(stage, me).left.store({middle, range.end}, std::memory_order_relaxed);
      return true;
    }
  }
  return false;
}

void StagedTasks::wait_until_done(const std::atomic<int64_t>& units) noexcept {
  constexpr int kSpins = 4096;  // about 40 us; then the thread that is waited for may need the CPU
  for (int i = 0; units.load(std::memory_order_acquire) > 0; ++i) {
    if (i < kSpins) {
      spin_pause();
    } else {
      std::this_thread::yield();
    }
  }
}

}  // namespace flashmoe::kernels::host
