#include "base/thread_pool.h"

#include <chrono>
#include <system_error>

#include "base/check.h"
#include "base/error.h"
#include "base/spin.h"

namespace flashmoe {
namespace {

// Jobs of one layer follow each other within microseconds; waking a sleeping thread takes tens.
constexpr auto kSpinTime = std::chrono::microseconds(40);

// Waits until `value` is no longer `old`.
template <typename T>
void wait_while_equal(const std::atomic<T>& value, T old, bool spin) {
  if (spin) {
    const auto end = std::chrono::steady_clock::now() + kSpinTime;
    do {
      for (int i = 0; i < 16; ++i) {
        if (value.load(std::memory_order_acquire) != old) return;
        spin_pause();
      }
    } while (std::chrono::steady_clock::now() < end);
  }
  value.wait(old, std::memory_order_acquire);
}

}  // namespace

ThreadPool::ThreadPool(int threads) {
  CHECK(threads >= 1);
  spin_ = static_cast<unsigned>(threads) <= std::thread::hardware_concurrency();
  workers_.reserve(static_cast<size_t>(threads) - 1);
  try {
    for (int i = 1; i < threads; ++i) workers_.emplace_back([this] { work(); });
  } catch (const std::system_error& e) {
    const size_t started = workers_.size() + 1;
    stop();
    throw_error(ErrorCode::kMemory,
                "only {} of {} threads could be started ({}); use fewer threads", started, threads,
                e.what());
  }
}

ThreadPool::~ThreadPool() { stop(); }

void ThreadPool::stop() noexcept {
  stopping_.store(true, std::memory_order_relaxed);
  jobs_.fetch_add(1, std::memory_order_release);
  jobs_.notify_all();
  for (std::thread& worker : workers_) worker.join();
}

// Claims and runs tasks until none is left; returns how many.
int ThreadPool::run_tasks() noexcept {
  int done = 0;
  for (;;) {
    // A thread that comes late may claim a task of a newer job than the one that woke it: that is
    // fine, because it looks at the job only after the claim.
    const int left = unclaimed_.fetch_sub(1, std::memory_order_acq_rel);
    if (left <= 0) return done;
    call_(context_, tasks_ - left);
    ++done;
  }
}

void ThreadPool::run_job(int tasks, void* context, Call call) noexcept {
  CHECK(tasks >= 0);
  CHECK(!running_.exchange(true, std::memory_order_acquire));
  if (workers_.empty() || tasks <= 1) {
    for (int i = 0; i < tasks; ++i) call(context, i);
    running_.store(false, std::memory_order_release);
    return;
  }
  context_ = context;
  call_ = call;
  tasks_ = tasks;
  unfinished_.store(tasks, std::memory_order_relaxed);
  unclaimed_.store(tasks, std::memory_order_release);
  jobs_.fetch_add(1, std::memory_order_release);
  if (tasks > static_cast<int>(workers_.size())) {
    jobs_.notify_all();
  } else {
    for (int i = 1; i < tasks; ++i) jobs_.notify_one();
  }

  const int done = run_tasks();
  int left = unfinished_.fetch_sub(done, std::memory_order_acq_rel) - done;
  while (left != 0) {
    wait_while_equal(unfinished_, left, spin_);
    left = unfinished_.load(std::memory_order_acquire);
  }
  running_.store(false, std::memory_order_release);
}

void ThreadPool::work() noexcept {
  uint32_t seen = 0;
  for (;;) {
    wait_while_equal(jobs_, seen, spin_);
    seen = jobs_.load(std::memory_order_acquire);
    if (stopping_.load(std::memory_order_relaxed)) return;
    const int done = run_tasks();
    // Only the last report wakes the asking thread; the others just lower the count it sees.
    if (done > 0 && unfinished_.fetch_sub(done, std::memory_order_acq_rel) == done) {
      unfinished_.notify_one();
    }
  }
}

}  // namespace flashmoe
