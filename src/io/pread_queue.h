// Reads by a pool of threads that each wait in pread: works on every system, and through the page
// cache. Owns its threads.
#pragma once

#include <condition_variable>
#include <deque>
#include <mutex>
#include <thread>
#include <vector>

#include "io/read_queue.h"

namespace flashmoe::io {

class PreadQueue : public ReadQueue {
 public:
  // Up to `threads` reads are with the system at once. Throws Error when they cannot be started.
  explicit PreadQueue(int threads);
  ~PreadQueue() override;

  const char* name() const override { return "pread"; }
  void submit(std::span<const ReadRequest> requests) override;
  size_t wait(std::span<ReadCompletion> completions) override;
  size_t poll(std::span<ReadCompletion> completions) override;
  size_t in_flight() const override { return in_flight_; }

 private:
  void work() noexcept;
  void stop() noexcept;
  size_t take(std::span<ReadCompletion> completions);

  std::mutex mutex_;  // guards the next three
  std::deque<ReadRequest> waiting_;
  std::deque<ReadCompletion> finished_;
  bool stopping_ = false;
  std::condition_variable request_came_;
  std::condition_variable read_finished_;
  size_t in_flight_ = 0;  // only for the thread that uses the queue
  std::vector<std::thread> threads_;
};

}  // namespace flashmoe::io
