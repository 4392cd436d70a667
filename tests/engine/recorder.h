// A Listener for tests: keeps what it is told, and lets others wait for the end.
#pragma once

#include <condition_variable>
#include <functional>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "engine/batcher.h"

namespace flashmoe::engine {

class Recorder final : public Listener {
 public:
  // Called with each token, on the engine's thread.
  std::function<void(size_t tokens)> then;
  std::function<void()> at_end;

  void on_start(int64_t cached_tokens) noexcept override {
    const std::lock_guard lock(mutex_);
    started_ = true;
    cached_tokens_ = cached_tokens;
    changed_.notify_all();
  }
  void on_progress(int64_t done_tokens, int64_t) noexcept override {
    const std::lock_guard lock(mutex_);
    progress_.push_back(done_tokens);
  }
  void on_prompt_tokens(std::span<const TokenEvent> tokens) noexcept override {
    const std::lock_guard lock(mutex_);
    prompt_events_.insert(prompt_events_.end(), tokens.begin(), tokens.end());
  }
  void on_token(const TokenEvent& event) noexcept override {
    size_t count;
    {
      const std::lock_guard lock(mutex_);
      events_.push_back(event);
      count = events_.size();
      changed_.notify_all();
    }
    if (then) then(count);
  }
  void on_done(const Generation& generation) noexcept override {
    if (at_end) at_end();
    const std::lock_guard lock(mutex_);
    done_ = generation;
    changed_.notify_all();
  }
  void on_error(const Error& error) noexcept override {
    if (at_end) at_end();
    const std::lock_guard lock(mutex_);
    error_ = error;
    changed_.notify_all();
  }

  void wait() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return done_ || error_; });
  }
  void wait_for_tokens(size_t count) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return events_.size() >= count || done_ || error_; });
  }

  // What came; wait first.
  bool started() const { return started_; }
  int64_t cached_tokens() const { return cached_tokens_; }
  const std::vector<int64_t>& progress() const { return progress_; }
  const std::vector<TokenEvent>& prompt_events() const { return prompt_events_; }
  const std::vector<TokenEvent>& events() const { return events_; }
  std::vector<int32_t> streamed() const {
    std::vector<int32_t> tokens;
    for (const TokenEvent& event : events_) tokens.push_back(event.token);
    return tokens;
  }
  const std::optional<Generation>& done() const { return done_; }
  const std::optional<Error>& error() const { return error_; }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  bool started_ = false;
  int64_t cached_tokens_ = 0;
  std::vector<int64_t> progress_;
  std::vector<TokenEvent> prompt_events_, events_;
  std::optional<Generation> done_;
  std::optional<Error> error_;
};

}  // namespace flashmoe::engine
