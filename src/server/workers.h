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
  // Tasks that wait may hold so many bytes together; one alone may hold any number.
  Workers(int threads, size_t max_waiting_bytes);
  ~Workers();  // finishes the task at hand of each thread, and drops the others
  Workers(const Workers&) = delete;
  Workers& operator=(const Workers&) = delete;

  // False when too much waits already; the task, which holds `bytes`, is then gone. Tasks must not
  // throw.
  bool post(size_t bytes, std::function<void()> task);

 private:
  struct Waiting {
    size_t bytes;
    std::function<void()> task;
  };

  void work();

  const size_t max_waiting_bytes_;
  std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<Waiting> queue_;
  size_t waiting_bytes_ = 0;
  bool stopping_ = false;
  std::vector<std::thread> threads_;
};

}  // namespace flashmoe::server
