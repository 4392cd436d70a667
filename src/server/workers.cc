#include "server/workers.h"

#include <utility>

namespace flashmoe::server {

Workers::Workers(int threads, size_t max_waiting_bytes) : max_waiting_bytes_(max_waiting_bytes) {
  for (int i = 0; i < threads; ++i) threads_.emplace_back([this] { work(); });
}

Workers::~Workers() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  wake_.notify_all();
  for (std::thread& thread : threads_) thread.join();
}

bool Workers::post(size_t bytes, std::function<void()> task) {
  {
    const std::lock_guard lock(mutex_);
    if (!queue_.empty() && waiting_bytes_ + bytes > max_waiting_bytes_) return false;
    queue_.push_back({bytes, std::move(task)});
    waiting_bytes_ += bytes;
  }
  wake_.notify_one();
  return true;
}

void Workers::work() {
  while (true) {
    std::function<void()> task;
    {
      std::unique_lock lock(mutex_);
      wake_.wait(lock, [this] { return stopping_ || !queue_.empty(); });
      if (stopping_) return;
      task = std::move(queue_.front().task);
      waiting_bytes_ -= queue_.front().bytes;
      queue_.pop_front();
    }
    task();
  }
}

}  // namespace flashmoe::server
