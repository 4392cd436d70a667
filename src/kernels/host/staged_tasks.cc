#include "kernels/host/staged_tasks.h"

#include <algorithm>
#include <thread>

#include "base/spin.h"

namespace flashmoe::kernels::host {

void StagedTasks::arm() {
  if (capacity_ < stages()) {
    capacity_ = std::max(stages(), 2 * capacity_);
    left_ = std::make_unique<Countdown[]>(static_cast<size_t>(capacity_));
  }
  for (int s = 0; s < stages(); ++s) {
    left_[s].tasks.store(stages_[s].tasks, std::memory_order_relaxed);
  }
}

void StagedTasks::wait_until_done(const std::atomic<int>& tasks) noexcept {
  constexpr int kSpins = 4096;  // about 40 us; then the thread that is waited for may need the CPU
  for (int i = 0; tasks.load(std::memory_order_acquire) > 0; ++i) {
    if (i < kSpins) {
      spin_pause();
    } else {
      std::this_thread::yield();
    }
  }
}

}  // namespace flashmoe::kernels::host
