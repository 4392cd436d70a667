#include "io/fault_queue.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <map>

#include "base/aligned_buffer.h"
#include "io/file.h"
#include "io/pread_queue.h"
#include "tests/base/temp_folder.h"
#include "tests/io/random_bytes.h"

namespace flashmoe::io {
namespace {

constexpr size_t kReadBytes = 16384;
constexpr size_t kReads = 2000;

// Completes everything at once and in order, so that the order that a test sees is the fault
// queue's alone.
class InstantQueue : public ReadQueue {
 public:
  const char* name() const override { return "instant"; }
  void submit(std::span<const ReadRequest> requests) override {
    for (const ReadRequest& r : requests) {
      r.file->read_exact(r.offset, r.bytes, r.destination);
      done_.push_back({r.tag, r.bytes, 0});
    }
  }
  size_t wait(std::span<ReadCompletion> completions) override { return poll(completions); }
  size_t poll(std::span<ReadCompletion> completions) override {
    const size_t n = std::min(completions.size(), done_.size());
    std::copy_n(done_.begin(), n, completions.begin());
    done_.erase(done_.begin(), done_.begin() + static_cast<std::ptrdiff_t>(n));
    return n;
  }
  size_t in_flight() const override { return done_.size(); }

 private:
  std::vector<ReadCompletion> done_;
};

class FaultQueueTest : public testing::TestWithParam<Access> {
 protected:
  // The completions of kReads equal reads by tag, and the order in which they came.
  struct Outcome {
    std::map<uint64_t, ReadCompletion> by_tag;
    std::vector<uint64_t> order;
    FaultQueue::Counts counts;
  };

  // Each read goes to a buffer of its own, `batch` reads at a time.
  Outcome read_with(const FaultRates& rates, uint64_t seed, size_t batch = 50,
                    std::unique_ptr<ReadQueue> inner = std::make_unique<PreadQueue>(2)) {
    FaultQueue queue(std::move(inner), rates, seed);
    Outcome outcome;
    std::array<ReadCompletion, 8> completions;
    for (size_t i = 0; i < kReads; i += batch) {
      std::vector<ReadRequest> requests;
      for (size_t j = i; j < i + batch; ++j) {
        requests.push_back({&file_, 0, kReadBytes, memory_.data() + j * kReadBytes, j});
      }
      queue.submit(requests);
      while (const size_t n = queue.wait(completions)) {
        for (size_t k = 0; k < n; ++k) {
          outcome.order.push_back(completions[k].tag);
          EXPECT_TRUE(outcome.by_tag.emplace(completions[k].tag, completions[k]).second);
        }
      }
    }
    EXPECT_EQ(outcome.by_tag.size(), kReads);
    outcome.counts = queue.counts();
    return outcome;
  }

  TempFolder folder_;
  std::string content_ = random_bytes(kReadBytes, 1);
  File file_{folder_.write("a", content_), GetParam()};
  AlignedBuffer memory_{kReads * kReadBytes};
};

TEST_P(FaultQueueTest, NameTellsWhatIsInside) {
  EXPECT_STREQ(FaultQueue(std::make_unique<PreadQueue>(1), {}, 1).name(), "fault(pread)");
}

TEST_P(FaultQueueTest, ShortReads) {
  FaultRates rates;
  rates.short_read = 0.25;
  const Outcome outcome = read_with(rates, 1);
  size_t shorter = 0;
  for (const auto& [tag, completion] : outcome.by_tag) {
    EXPECT_EQ(completion.error, 0);
    EXPECT_GT(completion.bytes, 0u);
    EXPECT_EQ(completion.bytes % file_.alignment(), 0u);
    const std::byte* got = memory_.data() + tag * kReadBytes;
    EXPECT_EQ(std::memcmp(got, content_.data(), completion.bytes), 0);
    if (completion.bytes == kReadBytes) continue;
    ++shorter;
    // Beyond the end of a short read lies nothing useful.
    EXPECT_NE(std::memcmp(got + completion.bytes, content_.data() + completion.bytes,
                          std::min<size_t>(kReadBytes - completion.bytes, 16)),
              0);
  }
  EXPECT_EQ(outcome.counts.short_reads, shorter);
  // 500 expected with a standard deviation of 19.
  EXPECT_NEAR(static_cast<double>(shorter), 500, 100);
}

TEST_P(FaultQueueTest, Errors) {
  FaultRates rates;
  rates.error = 0.1;
  const Outcome outcome = read_with(rates, 2);
  size_t failed = 0;
  for (const auto& [tag, completion] : outcome.by_tag) {
    const std::byte* got = memory_.data() + tag * kReadBytes;
    if (completion.error == 0) {
      EXPECT_EQ(completion.bytes, kReadBytes);
      EXPECT_EQ(std::memcmp(got, content_.data(), kReadBytes), 0);
      continue;
    }
    ++failed;
    EXPECT_EQ(completion.error, EIO);
    EXPECT_EQ(completion.bytes, 0u);
    EXPECT_NE(std::memcmp(got, content_.data(), kReadBytes), 0);
  }
  EXPECT_EQ(outcome.counts.errors, failed);
  EXPECT_NEAR(static_cast<double>(failed), 200, 70);
}

TEST_P(FaultQueueTest, EqualSeedsGiveEqualFaults) {
  FaultRates rates;
  rates.short_read = 0.3;
  rates.error = 0.1;
  rates.delay = 0.05;
  rates.reorder = 0.2;
  rates.max_delay = std::chrono::microseconds(100);
  const auto faults = [&](uint64_t seed) {
    std::vector<std::pair<size_t, int>> result;
    for (const auto& [tag, completion] : read_with(rates, seed).by_tag) {
      result.emplace_back(completion.bytes, completion.error);
    }
    return result;
  };
  const auto first = faults(7);
  EXPECT_EQ(first, faults(7));
  EXPECT_NE(first, faults(8));
}

TEST_P(FaultQueueTest, Reorders) {
  constexpr size_t kBatch = 50;
  const auto descents = [&](const Outcome& outcome) {
    size_t count = 0;
    for (size_t i = 1; i < outcome.order.size(); ++i) {
      count += outcome.order[i] < outcome.order[i - 1];
    }
    return count;
  };
  EXPECT_EQ(descents(read_with({}, 3, kBatch, std::make_unique<InstantQueue>())), 0u);
  FaultRates rates;
  rates.reorder = 0.5;
  const Outcome outcome = read_with(rates, 3, kBatch, std::make_unique<InstantQueue>());
  EXPECT_NEAR(static_cast<double>(outcome.counts.reorders), 1000, 150);
  // In each batch, those that let others pass come after all the others.
  EXPECT_EQ(descents(outcome), kReads / kBatch);
}

TEST_P(FaultQueueTest, Delays) {
  FaultRates rates;
  rates.delay = 1;
  rates.max_delay = std::chrono::milliseconds(20);
  const auto start = std::chrono::steady_clock::now();
  const Outcome outcome = read_with(rates, 4, kReads / 2);
  // Two batches, the longest of 1000 delays of up to 20 ms in each.
  EXPECT_GT(std::chrono::steady_clock::now() - start, std::chrono::milliseconds(36));
  EXPECT_EQ(outcome.counts.delays, kReads);
}

// Tags belong to the caller, who may use one twice.
TEST_P(FaultQueueTest, TagsMayRepeat) {
  FaultQueue queue(std::make_unique<PreadQueue>(2), {}, 1);
  const ReadRequest requests[] = {{&file_, 0, kReadBytes, memory_.data(), 42},
                                  {&file_, 0, kReadBytes, memory_.data() + kReadBytes, 42}};
  queue.submit(requests);
  std::array<ReadCompletion, 4> completions;
  size_t taken = 0;
  while (const size_t n = queue.wait(completions)) {
    for (size_t i = 0; i < n; ++i) EXPECT_EQ(completions[i].tag, 42u);
    taken += n;
  }
  EXPECT_EQ(taken, 2u);
}

INSTANTIATE_TEST_SUITE_P(Both, FaultQueueTest, testing::Values(Access::kBuffered, Access::kDirect));

}  // namespace
}  // namespace flashmoe::io
