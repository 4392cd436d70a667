// Keeps the first exception of tasks that run on many threads for the one that waits for them.
#pragma once

#include <atomic>
#include <exception>
#include <mutex>

namespace flashmoe::convert {

class FirstError {
 public:
  // Runs `work`; what it throws is kept.
  template <typename F>
  void guard(F&& work) noexcept {
    try {
      work();
    } catch (...) {
      const std::scoped_lock lock(mutex_);
      if (!error_) error_ = std::current_exception();
      failed_.store(true, std::memory_order_relaxed);
    }
  }
  bool failed() const noexcept { return failed_.load(std::memory_order_relaxed); }
  // When all tasks are done.
  void rethrow() const {
    if (error_) std::rethrow_exception(error_);
  }

 private:
  std::mutex mutex_;
  std::exception_ptr error_;
  std::atomic<bool> failed_{false};
};

}  // namespace flashmoe::convert
