// Threads for what takes too long for the thread that serves all connections: tokenizing, grammars.
// Owns the threads and a bounded queue.
#pragma once

#include <condition_variable>
#include <cstddef>
#include <deque>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

namespace flashmoe::server {

class Workers {
 public:
  Workers(int threads, size_t max_queued);
  ~Workers();  // finishes the task at hand of each thread, and drops the others
  Workers(const Workers&) = delete;
  Workers& operator=(const Workers&) = delete;

  // False when the queue is full; the task is then gone. Tasks must not throw.
  bool post(std::function<void()> task);

 private:
  void work();

  const size_t max_queued_;
  std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<std::function<void()>> queue_;
  bool stopping_ = false;
  std::vector<std::thread> threads_;
};

}  // namespace flashmoe::server
