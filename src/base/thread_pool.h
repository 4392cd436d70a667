// A fixed set of threads that run the numbered tasks of one job at a time, together with the thread
// that asks. Owns its threads; knows nothing of what the tasks do. Nothing is allocated per job.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <thread>
#include <type_traits>
#include <vector>

namespace flashmoe {

class ThreadPool {
 public:
  // `threads` counts the calling thread: 1 starts none and runs everything inline. Throws Error
  // when the system refuses to start them.
  explicit ThreadPool(int threads);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int threads() const { return static_cast<int>(workers_.size()) + 1; }

  // Calls task(i) once for every i in [0, tasks), on whichever thread is free, and returns when all
  // are done; what they wrote is then visible here. Lower i start first. One job at a time: calling
  // this from a task, or from two threads at once, fails a CHECK. Tasks must not throw.
  template <typename F>
  void run(int tasks, F&& task) noexcept {
    using Task = std::remove_reference_t<F>;
    run_job(tasks, const_cast<void*>(static_cast<const void*>(std::addressof(task))),
            [](void* context, int i) noexcept { (*static_cast<Task*>(context))(i); });
  }

 private:
  using Call = void (*)(void* context, int task) noexcept;

  void run_job(int tasks, void* context, Call call) noexcept;
  int run_tasks() noexcept;
  void work() noexcept;
  void stop() noexcept;

  // The job. A thread reads these only while it holds a claimed task, and run_job returns, and so
  // writes the next job, only when all claimed tasks are finished.
  void* context_ = nullptr;
  Call call_ = nullptr;
  int tasks_ = 0;

  static constexpr int kCacheLine = 64;
  alignas(kCacheLine) std::atomic<int> unclaimed_{0};  // counts below 0 when threads come too late
  alignas(kCacheLine) std::atomic<int> unfinished_{0};
  alignas(kCacheLine) std::atomic<uint32_t> jobs_{0};  // started so far; idle threads wait on it
  alignas(kCacheLine) std::atomic<bool> running_{false};
  std::atomic<bool> stopping_{false};
  bool spin_ = false;  // before sleeping; only when every thread can have a CPU
  std::vector<std::thread> workers_;
};

}  // namespace flashmoe
