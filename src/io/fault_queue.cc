#include "io/fault_queue.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <thread>
#include <utility>

#include "base/check.h"
#include "io/file.h"

namespace flashmoe::io {
namespace {

constexpr int kJunk = 0xa5;  // what a read that fails or ends early leaves in the buffer
constexpr auto kPollPeriod = std::chrono::microseconds(50);

}  // namespace

FaultQueue::FaultQueue(std::unique_ptr<ReadQueue> inner, const FaultRates& rates, uint64_t seed)
    : inner_(std::move(inner)),
      rates_(rates),
      random_(seed),
      name_(std::string("fault(") + inner_->name() + ")") {}

FaultQueue::~FaultQueue() = default;

// Not std::uniform_..._distribution, whose results differ between libraries.
bool FaultQueue::chance(double probability) {
  return static_cast<double>(random_() >> 11) * 0x1p-53 < probability;
}

uint64_t FaultQueue::below(uint64_t limit) { return random_() % limit; }

size_t FaultQueue::new_pending(const Pending& pending) {
  if (free_.empty()) {
    pending_.push_back(pending);
    return pending_.size() - 1;
  }
  const size_t index = free_.back();
  free_.pop_back();
  pending_[index] = pending;
  return index;
}

void FaultQueue::submit(std::span<const ReadRequest> requests) {
  for (const ReadRequest& asked : requests) {
    check_request(asked);
    Pending pending;
    pending.completion.tag = asked.tag;
    // Each decision draws, whatever the others were: a fault then stays with its request when
    // another kind is switched off.
    const bool fails = chance(rates_.error);
    const bool is_short = chance(rates_.short_read);
    const uint64_t cut = random_();
    const bool is_late = chance(rates_.delay);
    const uint64_t delay_us = below(static_cast<uint64_t>(rates_.max_delay.count()) + 1);
    pending.behind = chance(rates_.reorder);
    if (is_late) pending.delay = std::chrono::microseconds(delay_us);
    counts_.delays += is_late;
    counts_.reorders += pending.behind;
    ++in_flight_;

    if (fails) {
      ++counts_.errors;
      std::memset(asked.destination, kJunk, asked.bytes);
      pending.completion.error = EIO;
      arrive(new_pending(pending));
      continue;
    }
    ReadRequest request = asked;
    const size_t blocks = asked.bytes / asked.file->alignment();
    if (is_short && blocks > 1) {
      ++counts_.short_reads;
      request.bytes = (1 + cut % (blocks - 1)) * asked.file->alignment();
      std::memset(asked.destination + request.bytes, kJunk, asked.bytes - request.bytes);
    }
    request.tag = new_pending(pending);
    inner_->submit({&request, 1});
  }
}

// A completion is there; decides where it waits.
void FaultQueue::arrive(size_t index) {
  Pending& pending = pending_[index];
  if (pending.delay.count() > 0) {
    pending.due = Clock::now() + pending.delay;
    held_.push_back(index);
  } else {
    (pending.behind ? behind_ : ready_).push_back(index);
  }
}

void FaultQueue::take_from_inner() {
  std::array<ReadCompletion, 16> taken;
  while (const size_t n = inner_->poll(taken)) {
    for (size_t i = 0; i < n; ++i) {
      const auto index = static_cast<size_t>(taken[i].tag);
      pending_[index].completion.bytes = taken[i].bytes;
      pending_[index].completion.error = taken[i].error;
      arrive(index);
    }
  }
}

void FaultQueue::release_due() {
  const Clock::time_point now = Clock::now();
  std::erase_if(held_, [&](size_t index) {
    if (pending_[index].due > now) return false;
    (pending_[index].behind ? behind_ : ready_).push_back(index);
    return true;
  });
  // Those that let others pass follow the first that does pass, or go when nobody is left.
  const bool nobody_left = inner_->in_flight() == 0 && held_.empty();
  if (!ready_.empty() || nobody_left) {
    if (nobody_left && ready_.empty()) std::ranges::reverse(behind_);
    ready_.insert(ready_.end(), behind_.begin(), behind_.end());
    behind_.clear();
  }
}

size_t FaultQueue::deliver(std::span<ReadCompletion> completions) {
  const size_t n = std::min(completions.size(), ready_.size());
  for (size_t i = 0; i < n; ++i) {
    completions[i] = pending_[ready_[i]].completion;
    free_.push_back(ready_[i]);
  }
  ready_.erase(ready_.begin(), ready_.begin() + static_cast<std::ptrdiff_t>(n));
  in_flight_ -= n;
  return n;
}

size_t FaultQueue::poll(std::span<ReadCompletion> completions) {
  take_from_inner();
  release_due();
  return deliver(completions);
}

size_t FaultQueue::wait(std::span<ReadCompletion> completions) {
  CHECK(!completions.empty());
  while (in_flight_ > 0) {
    if (const size_t n = poll(completions); n > 0) return n;
    std::this_thread::sleep_for(kPollPeriod);
  }
  return 0;
}

}  // namespace flashmoe::io
