// What every queue must do, for each kind of queue on each kind of file.
#include "io/read_queue.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <functional>
#include <map>
#include <random>
#include <thread>
#include <vector>

#include "base/aligned_buffer.h"
#include "io/fault_queue.h"
#include "io/file.h"
#include "io/pread_queue.h"
#include "io/uring_queue.h"
#include "tests/base/temp_folder.h"
#include "tests/io/random_bytes.h"

namespace flashmoe::io {
namespace {

std::unique_ptr<ReadQueue> open_uring(int depth) {
  std::string why;
  std::unique_ptr<ReadQueue> queue = open_uring_queue(depth, &why);
  if (queue == nullptr) {
    EXPECT_NE(why, "");
  }
  return queue;
}

struct Kind {
  const char* name;
  std::function<std::unique_ptr<ReadQueue>()> open;  // nullptr where it cannot be had
};

const Kind kKinds[] = {
    {"uring", [] { return open_uring(64); }},
    {"uring_of_depth_2", [] { return open_uring(2); }},
    {"pread", [] { return std::make_unique<PreadQueue>(4); }},
    {"pread_of_1_thread", [] { return std::make_unique<PreadQueue>(1); }},
    {"fault_free",
     [] { return std::make_unique<FaultQueue>(std::make_unique<PreadQueue>(2), FaultRates{}, 1); }},
    {"late_and_reordered",
     [] {
       FaultRates rates;
       rates.delay = 0.3;
       rates.reorder = 0.5;
       rates.max_delay = std::chrono::microseconds(300);
       return std::make_unique<FaultQueue>(std::make_unique<PreadQueue>(2), rates, 2);
     }},
};

class ReadQueueTest : public testing::TestWithParam<std::tuple<Kind, Access>> {
 protected:
  static constexpr size_t kFileBytes = (size_t{4} << 20) + 777;

  void SetUp() override {
    queue_ = std::get<0>(GetParam()).open();
    if (queue_ == nullptr) GTEST_SKIP() << "no io_uring here";
  }

  size_t align_up(size_t n) const {
    return (n + file_.alignment() - 1) / file_.alignment() * file_.alignment();
  }
  size_t align_down(size_t n) const { return n / file_.alignment() * file_.alignment(); }

  // A read of up to max_bytes somewhere in the file; it may reach past the file's end.
  ReadRequest random_request(std::mt19937& random, size_t max_bytes, std::byte* destination,
                             uint64_t tag) const {
    const size_t offset = align_down(random() % kFileBytes);
    const size_t bytes = align_up(1 + random() % max_bytes);
    return {&file_, offset, bytes, destination, tag};
  }
  static size_t expected_bytes(const ReadRequest& request) {
    return std::min<size_t>(request.bytes, kFileBytes - request.offset);
  }
  // Takes the completion of a read that went well and compares what it brought.
  void expect_read(const ReadRequest& request, const ReadCompletion& completion) const {
    ASSERT_EQ(completion.tag, request.tag);
    ASSERT_EQ(completion.error, 0);
    ASSERT_EQ(completion.bytes, expected_bytes(request));
    EXPECT_EQ(std::memcmp(request.destination, content_.data() + request.offset, completion.bytes),
              0);
  }

  TempFolder folder_;
  std::string content_ = random_bytes(kFileBytes, 1);
  File file_{folder_.write("a", content_), std::get<1>(GetParam())};
  AlignedBuffer memory_{size_t{64} << 20};
  std::unique_ptr<ReadQueue> queue_;
};

TEST_P(ReadQueueTest, NothingInFlightGivesNothing) {
  std::array<ReadCompletion, 4> completions;
  EXPECT_EQ(queue_->in_flight(), 0u);
  EXPECT_EQ(queue_->wait(completions), 0u);
  EXPECT_EQ(queue_->poll(completions), 0u);
  queue_->submit({});
  EXPECT_EQ(queue_->wait(completions), 0u);
}

TEST_P(ReadQueueTest, BatchOfRandomReads) {
  std::mt19937 random(3);
  constexpr size_t kPlaceBytes = size_t{256} << 10;
  for (const size_t count : {1, 2, 7, 200}) {
    std::vector<ReadRequest> requests;
    for (size_t i = 0; i < count; ++i) {
      requests.push_back(
          random_request(random, kPlaceBytes / 2, memory_.data() + i * kPlaceBytes, 1000 + i));
    }
    queue_->submit(requests);
    EXPECT_EQ(queue_->in_flight(), count);
    std::vector<bool> seen(count);
    std::array<ReadCompletion, 5> completions;
    size_t left = count;
    while (left > 0) {
      const size_t n = queue_->wait(completions);
      ASSERT_GT(n, 0u);
      ASSERT_LE(n, left);
      left -= n;
      EXPECT_EQ(queue_->in_flight(), left);
      for (size_t i = 0; i < n; ++i) {
        const size_t r = completions[i].tag - 1000;
        ASSERT_LT(r, count);
        EXPECT_FALSE(seen[r]);
        seen[r] = true;
        expect_read(requests[r], completions[i]);
      }
    }
    EXPECT_EQ(queue_->wait(completions), 0u);
  }
}

// Requests come while others are in flight, as experts do.
TEST_P(ReadQueueTest, RollingReads) {
  std::mt19937 random(4);
  constexpr size_t kPlaces = 12;
  constexpr size_t kPlaceBytes = size_t{512} << 10;
  std::array<ReadRequest, kPlaces> requests;
  const auto refill = [&](size_t place) {
    requests[place] =
        random_request(random, kPlaceBytes / 2, memory_.data() + place * kPlaceBytes, place);
    queue_->submit({&requests[place], 1});
  };
  for (size_t place = 0; place < kPlaces; ++place) refill(place);
  std::array<ReadCompletion, 4> completions;
  for (int done = 0; done < 600;) {
    const size_t n = done % 3 == 0 ? queue_->poll(completions) : queue_->wait(completions);
    if (done % 3 == 0 && n == 0) {
      ++done;  // nothing there yet: wait the next time
      continue;
    }
    for (size_t i = 0; i < n; ++i, ++done) {
      const size_t place = completions[i].tag;
      expect_read(requests[place], completions[i]);
      refill(place);
    }
  }
  EXPECT_EQ(queue_->in_flight(), kPlaces);
}

TEST_P(ReadQueueTest, PollFinishesWithoutWaiting) {
  ReadRequest request{&file_, 0, 65536, memory_.data(), 9};
  queue_->submit({&request, 1});
  std::array<ReadCompletion, 1> completions;
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(20);
  while (queue_->poll(completions) == 0) {
    ASSERT_LT(std::chrono::steady_clock::now(), end);
    std::this_thread::sleep_for(std::chrono::microseconds(100));
  }
  expect_read(request, completions[0]);
}

TEST_P(ReadQueueTest, TheEndOfTheFile) {
  const size_t last = align_down(kFileBytes - 1);
  const size_t beyond = align_up(kFileBytes);
  const ReadRequest requests[] = {{&file_, last, 16384, memory_.data(), 0},
                                  {&file_, beyond, 4096, memory_.data() + 16384, 1}};
  std::array<ReadCompletion, 1> completions;
  queue_->submit({&requests[0], 1});
  ASSERT_EQ(queue_->wait(completions), 1u);
  expect_read(requests[0], completions[0]);
  queue_->submit({&requests[1], 1});
  ASSERT_EQ(queue_->wait(completions), 1u);
  EXPECT_EQ(completions[0].bytes, 0u);
  EXPECT_EQ(completions[0].error, 0);
}

TEST_P(ReadQueueTest, AFailedReadIsACompletion) {
  File closed(folder_.write("b", content_), std::get<1>(GetParam()));
  const File other = std::move(closed);  // leaves no descriptor
  const ReadRequest requests[] = {{&closed, 0, 4096, memory_.data(), 5},
                                  {&other, 0, 4096, memory_.data() + 4096, 6}};
  queue_->submit(requests);
  std::map<uint64_t, ReadCompletion> by_tag;
  std::array<ReadCompletion, 2> completions;
  while (const size_t n = queue_->wait(completions)) {
    for (size_t i = 0; i < n; ++i) by_tag[completions[i].tag] = completions[i];
  }
  ASSERT_EQ(by_tag.size(), 2u);
  EXPECT_EQ(by_tag[5].error, EBADF);
  EXPECT_EQ(by_tag[5].bytes, 0u);
  EXPECT_EQ(by_tag[6].error, 0);
  EXPECT_EQ(by_tag[6].bytes, 4096u);
}

TEST_P(ReadQueueTest, RegisteredBuffersChangeNothing) {
  const std::span<std::byte> buffers[] = {memory_.span().first(size_t{1} << 20),
                                          memory_.span().subspan(size_t{2} << 20, size_t{1} << 20)};
  std::mt19937 random(5);
  for (int round = 0; round < 3; ++round) {
    queue_->register_buffers(buffers);  // refused or not
    // Inside a registered buffer, across its end, and outside of all.
    for (const size_t place :
         {size_t{0}, (size_t{1} << 20) - 8192, size_t{2} << 20, size_t{5} << 20}) {
      const ReadRequest request = random_request(random, 32768, memory_.data() + place, place);
      queue_->submit({&request, 1});
      std::array<ReadCompletion, 1> completions;
      ASSERT_EQ(queue_->wait(completions), 1u);
      expect_read(request, completions[0]);
    }
    if (round == 1) queue_->register_buffers({});
  }
}

// After the queue is gone, nothing may write to the buffers any more.
TEST_P(ReadQueueTest, DestructionWithReadsInFlight) {
  constexpr size_t kBytes = size_t{64} << 10;
  std::vector<ReadRequest> requests;
  for (size_t i = 0; i < 300; ++i) {
    requests.push_back({&file_, (i % 60) * kBytes, kBytes, memory_.data() + i * kBytes, i});
  }
  queue_->submit(requests);
  queue_.reset();
  std::memset(memory_.data(), 0x5a, memory_.bytes());
  std::this_thread::sleep_for(std::chrono::milliseconds(20));
  // By the library: a loop of ours takes seconds with sanitizers.
  EXPECT_EQ(memory_.data()[0], std::byte{0x5a});
  EXPECT_EQ(std::memcmp(memory_.data(), memory_.data() + 1, memory_.bytes() - 1), 0);
}

INSTANTIATE_TEST_SUITE_P(All, ReadQueueTest,
                         testing::Combine(testing::ValuesIn(kKinds),
                                          testing::Values(Access::kBuffered, Access::kDirect)),
                         [](const testing::TestParamInfo<std::tuple<Kind, Access>>& info) {
                           return std::string(std::get<0>(info.param).name) +
                                  (std::get<1>(info.param) == Access::kDirect ? "_direct"
                                                                              : "_buffered");
                         });

TEST(ReadQueueDeathTest, RefusesUnalignedRequests) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  const TempFolder folder;
  const File file(folder.write("a", random_bytes(8192, 6)), Access::kDirect);
  if (!file.direct()) GTEST_SKIP() << "no direct reads in the folder of temporary files";
  AlignedBuffer memory(8192);
  EXPECT_DEATH(check_request({&file, 100, 4096, memory.data(), 0}), "offset");
  EXPECT_DEATH(check_request({&file, 0, 100, memory.data(), 0}), "bytes");
  EXPECT_DEATH(check_request({&file, 0, 4096, memory.data() + 1, 0}), "destination");
  EXPECT_DEATH(check_request({nullptr, 0, 4096, memory.data(), 0}), "file");
}

}  // namespace
}  // namespace flashmoe::io
