// The prefix cache where memory runs out, at each of its allocations in turn: nothing is lost but
// what was to be kept, and the counts stay right.
#include <gtest/gtest.h>

#include <chrono>
#include <random>
#include <thread>

#include "base/error.h"
#include "engine/batcher.h"
#include "engine/prefix_cache.h"
#include "tests/base/temp_folder.h"
#include "tests/engine/failing_allocations.h"
#include "tests/engine/recorder.h"

namespace flashmoe::engine {
namespace {

class PrefixCacheMemoryTest : public testing::Test {
 protected:
  PrefixCacheMemoryTest() {
    EngineOptions options;
    options.model = std::string(FLASHMOE_SOURCE_DIR) + "/tests/golden/models/qwen3_next_split_bf16";
    options.context = 1024;
    options.chunk = 100;
    options.threads = 1;
    options.max_sequences = 2;
    options.prefix_cache_bytes = uint64_t{64} << 20;
    engine_ = Engine::open(options);
    std::mt19937 random(1);
    for (int32_t& id : ids_) id = static_cast<int32_t>(random() % 96);
  }
  std::span<const int32_t> first(size_t n) const { return std::span(ids_).first(n); }
  std::vector<float> logits_of(Session& session) const {
    return std::vector<float>(session.logits().begin(), session.logits().end());
  }
  // Calls `attempt` with the first allocation failing, then the second, until none fails; returns
  // how many did. `attempt` may throw what is thrown when memory runs out.
  template <typename Attempt, typename Check>
  int64_t fail_each(Attempt&& attempt, Check&& check) {
    for (int64_t n = 0;; ++n) {
      EXPECT_LT(n, 10'000);
      bool failed;
      {
        const FailingAllocations failing = FailingAllocations::nth(n);
        try {
          attempt();
        } catch (const std::bad_alloc&) {
        } catch (const Error&) {
        }
        failed = failing.failed() > 0;
      }
      check(failed);
      if (!failed || testing::Test::HasFailure()) return n;
    }
  }

  const TempFolder temp_;
  std::unique_ptr<Engine> engine_;
  std::vector<int32_t> ids_ = std::vector<int32_t>(700);
};

TEST_F(PrefixCacheMemoryTest, KeepingAStateIsWholeOrNothing) {
  Session session(*engine_), other(*engine_);
  session.sync(first(337));
  other.sync(first(100));
  const std::vector<float> logits = logits_of(session);
  uint64_t before = 0, after = 0;
  {
    PrefixCache cache(*engine_, "", 0);
    cache.keep(other);
    before = cache.stats().memory_bytes;
    cache.keep(session);
    after = cache.stats().memory_bytes;
  }
  std::unique_ptr<PrefixCache> cache;
  const auto renew = [&] {
    cache = std::make_unique<PrefixCache>(*engine_, "", 0);
    cache->keep(other);
  };
  renew();
  const int64_t tried = fail_each([&] { cache->keep(session); },
                                  [&](bool failed) {
                                    EXPECT_EQ(cache->stats().snapshots, failed ? 1 : 2);
                                    EXPECT_EQ(cache->stats().memory_bytes, failed ? before : after);
                                    cache->keep(session);
                                    EXPECT_EQ(cache->stats().memory_bytes, after);
                                    Session again(*engine_);
                                    EXPECT_EQ(cache->restore(again, first(337), [] {}), nullptr);
                                    EXPECT_EQ(again.tokens().size(), 337u);
                                    EXPECT_EQ(logits_of(again), logits);
                                    if (failed) renew();
                                  });
  EXPECT_GT(tried, 5);
}

TEST_F(PrefixCacheMemoryTest, AStateThatCannotBeTakenUpStays) {
  Session session(*engine_);
  session.sync(first(337));
  PrefixCache cache(*engine_, "", 0);
  cache.keep(session);
  const std::vector<float> logits = logits_of(session);
  const PrefixCacheStats stats = cache.stats();
  const int64_t tried = fail_each(
      [&] {
        Session taking(*engine_);
        cache.restore(taking, first(337), [] {});
      },
      [&](bool) {
        EXPECT_EQ(cache.stats().memory_bytes, stats.memory_bytes);
        Session taking(*engine_);
        EXPECT_EQ(cache.restore(taking, first(337), [] {}), nullptr);
        EXPECT_EQ(logits_of(taking), logits);
      });
  EXPECT_GT(tried, 2);
}

TEST_F(PrefixCacheMemoryTest, WritingAStateIsWholeOrNothing) {
  Session session(*engine_);
  session.sync(first(337));
  int folder = 0;
  std::string path;
  std::unique_ptr<PrefixCache> cache;
  const auto renew = [&] {
    path = temp_.file(std::to_string(folder++));
    cache = std::make_unique<PrefixCache>(*engine_, path, uint64_t{1} << 30);
  };
  renew();
  const int64_t tried = fail_each(
      [&] {
        cache->keep(session);
        cache.reset();  // writes to the end
      },
      [&](bool failed) {
        cache.reset();
        cache = std::make_unique<PrefixCache>(*engine_, path, uint64_t{1} << 30);
        EXPECT_TRUE(failed || cache->disk_stats().states == 1);
        cache->keep(session);
        // What was not written then is now.
        const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(30);
        while (cache->disk_stats().states == 0 && std::chrono::steady_clock::now() < end) {
          std::this_thread::yield();
        }
        EXPECT_EQ(cache->disk_stats().states, 1);
        EXPECT_EQ(cache->disk_stats().failed_writes, 0);
        renew();
      });
  EXPECT_GT(tried, 20);
}

TEST_F(PrefixCacheMemoryTest, ReadingAStateSucceedsOrSaysThatItDidNot) {
  const std::string path = temp_.file("cache");
  std::vector<float> logits;
  const auto write = [&] {
    Session session(*engine_);
    session.sync(first(337));
    logits = logits_of(session);
    PrefixCache(*engine_, path, uint64_t{1} << 30).keep(session);
  };
  write();
  Session session(*engine_);
  auto cache = std::make_unique<PrefixCache>(*engine_, path, uint64_t{1} << 30);
  bool good = false;
  const int64_t tried = fail_each(
      [&] {
        good = false;
        std::atomic<bool> arrived{false};
        const auto load = cache->restore(session, first(337), [&] {
          arrived = true;
          arrived.notify_one();
        });
        if (load == nullptr) return;
        arrived.wait(false);
        cache->finish_load(session, *load);
        good = load->outcome.good;
      },
      [&](bool failed) {
        if (!failed) {
          EXPECT_TRUE(good);
        }
        EXPECT_EQ(session.tokens().size(), good ? 337u : 0u);
        if (good) {
          EXPECT_EQ(logits_of(session), logits);
        }
        session.clear();
        cache.reset();
        write();
        cache = std::make_unique<PrefixCache>(*engine_, path, uint64_t{1} << 30);
      });
  EXPECT_GT(tried, 20);
}

// A snapshot copies its tokens; nothing else allocates as many bytes.
TEST_F(PrefixCacheMemoryTest, AnAnswerGoesOnThoughItsStateCannotBeKept) {
  Batcher batcher(*engine_);
  const auto ask = [&] {
    Request request;
    request.prompt = ids_;
    request.prompt.resize(337);
    request.options.max_tokens = 8;
    request.options.sampling.temperature = 0;
    request.snapshot_points = {337};
    const auto recorder = std::make_shared<Recorder>();
    batcher.submit(std::move(request), recorder);
    recorder->wait();
    EXPECT_FALSE(recorder->error());
    return *recorder->done();
  };
  std::vector<int32_t> tokens;
  {
    const FailingAllocations failing = FailingAllocations::of_bytes(337 * sizeof(int32_t));
    tokens = ask().tokens;
    EXPECT_GT(failing.failed(), 0);
  }
  const Generation second = ask(), third = ask();
  EXPECT_EQ(second.cached_tokens, 0);
  EXPECT_EQ(third.cached_tokens, 337);
  EXPECT_EQ(second.tokens, tokens);
  EXPECT_EQ(third.tokens, tokens);
}

}  // namespace
}  // namespace flashmoe::engine
