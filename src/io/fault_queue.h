// A queue that misbehaves on purpose, and reproducibly: it cuts reads short, fails them, holds
// their completions back and changes their order. Owns the queue that it wraps. For tests and
// diagnosis.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "io/read_queue.h"

namespace flashmoe::io {

// Probabilities, in [0, 1], for each request.
struct FaultRates {
  double short_read = 0;  // fewer bytes than asked, but at least one aligned block
  double error = 0;       // EIO
  double delay = 0;       // completes up to max_delay later
  double reorder = 0;     // completes after another one that would have come later
  std::chrono::microseconds max_delay{1000};
};

class FaultQueue : public ReadQueue {
 public:
  // Equal seeds and equal sequences of requests give equal faults.
  FaultQueue(std::unique_ptr<ReadQueue> inner, const FaultRates& rates, uint64_t seed);
  ~FaultQueue() override;

  const char* name() const override { return name_.c_str(); }
  void submit(std::span<const ReadRequest> requests) override;
  size_t wait(std::span<ReadCompletion> completions) override;
  size_t poll(std::span<ReadCompletion> completions) override;
  size_t in_flight() const override { return in_flight_; }
  void register_buffers(std::span<const std::span<std::byte>> buffers) override {
    inner_->register_buffers(buffers);
  }
  std::string notes() const override { return inner_->notes(); }

  // Injected so far.
  struct Counts {
    uint64_t short_reads = 0;
    uint64_t errors = 0;
    uint64_t delays = 0;
    uint64_t reorders = 0;
  };
  const Counts& counts() const { return counts_; }

 private:
  using Clock = std::chrono::steady_clock;

  struct Pending {
    ReadCompletion completion;  // the tag is the caller's
    std::chrono::microseconds delay{0};
    bool behind = false;  // let another one pass
    Clock::time_point due;
  };

  bool chance(double probability);
  uint64_t below(uint64_t limit);
  size_t new_pending(const Pending& pending);
  void arrive(size_t index);
  void take_from_inner();
  void release_due();
  size_t deliver(std::span<ReadCompletion> completions);

  std::unique_ptr<ReadQueue> inner_;
  FaultRates rates_;
  std::mt19937_64 random_;
  std::string name_;
  Counts counts_;
  size_t in_flight_ = 0;

  // The tag of a request in inner_ is an index into pending_, so that callers' tags may repeat.
  std::vector<Pending> pending_;
  std::vector<size_t> free_;
  // Completed in inner_, in order of arrival, as indices into pending_.
  std::vector<size_t> held_;    // until their time comes
  std::vector<size_t> behind_;  // until another one is ready
  std::vector<size_t> ready_;
};

}  // namespace flashmoe::io
