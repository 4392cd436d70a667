#include "io/pread_queue.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <system_error>

#include "base/check.h"
#include "base/error.h"
#include "io/file.h"

namespace flashmoe::io {
namespace {

ReadCompletion read_now(const ReadRequest& request) {
  const size_t ask = std::min(request.bytes, kMaxReadBytes);
  ssize_t n;
  do {
    n = pread(request.file->fd(), request.destination, ask, static_cast<off_t>(request.offset));
  } while (n < 0 && errno == EINTR);
  if (n < 0) return {request.tag, 0, errno};
  return {request.tag, static_cast<size_t>(n), 0};
}

}  // namespace

PreadQueue::PreadQueue(int threads) {
  CHECK(threads >= 1);
  threads_.reserve(static_cast<size_t>(threads));
  try {
    for (int i = 0; i < threads; ++i) threads_.emplace_back([this] { work(); });
  } catch (const std::system_error& e) {
    stop();
    throw_error(ErrorCode::kMemory, "{} threads for reading cannot be started: {}", threads,
                e.what());
  }
}

PreadQueue::~PreadQueue() { stop(); }

void PreadQueue::stop() noexcept {
  {
    const std::scoped_lock lock(mutex_);
    stopping_ = true;
    waiting_.clear();
  }
  request_came_.notify_all();
  for (std::thread& thread : threads_) thread.join();
}

void PreadQueue::work() noexcept {
  std::unique_lock lock(mutex_);
  for (;;) {
    request_came_.wait(lock, [this] { return stopping_ || !waiting_.empty(); });
    if (stopping_) return;
    const ReadRequest request = waiting_.front();
    waiting_.pop_front();
    lock.unlock();
    const ReadCompletion completion = read_now(request);
    lock.lock();
    finished_.push_back(completion);
    read_finished_.notify_one();
  }
}

void PreadQueue::submit(std::span<const ReadRequest> requests) {
  for (const ReadRequest& request : requests) check_request(request);
  {
    const std::scoped_lock lock(mutex_);
    waiting_.insert(waiting_.end(), requests.begin(), requests.end());
  }
  in_flight_ += requests.size();
  if (requests.size() == 1) {
    request_came_.notify_one();
  } else {
    request_came_.notify_all();
  }
}

// With mutex_ held.
size_t PreadQueue::take(std::span<ReadCompletion> completions) {
  const size_t n = std::min(completions.size(), finished_.size());
  std::copy_n(finished_.begin(), n, completions.begin());
  finished_.erase(finished_.begin(), finished_.begin() + static_cast<std::ptrdiff_t>(n));
  in_flight_ -= n;
  return n;
}

size_t PreadQueue::wait(std::span<ReadCompletion> completions) {
  CHECK(!completions.empty());
  if (in_flight_ == 0) return 0;
  std::unique_lock lock(mutex_);
  read_finished_.wait(lock, [this] { return !finished_.empty(); });
  return take(completions);
}

size_t PreadQueue::poll(std::span<ReadCompletion> completions) {
  const std::scoped_lock lock(mutex_);
  return take(completions);
}

}  // namespace flashmoe::io
