// Answers that go on from a cached prompt are the ones without, to the bit; the budget is kept; and
// what is on disk survives restarts, crashes and damage, or is not used.
#include "engine/prefix_cache.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <filesystem>
#include <future>
#include <random>

#include "base/error.h"
#include "engine/batcher.h"
#include "engine/state_identity.h"
#include "tests/base/temp_folder.h"
#include "tests/engine/forced_logits.h"
#include "tests/engine/recorder.h"

namespace flashmoe::engine {
namespace {

namespace fs = std::filesystem;

const std::string kModels = std::string(FLASHMOE_SOURCE_DIR) + "/tests/golden/models/";

std::vector<int32_t> random_ids(size_t n, unsigned seed) {
  std::mt19937 random(seed);
  std::vector<int32_t> ids(n);
  for (int32_t& id : ids) id = static_cast<int32_t>(random() % 96);
  return ids;
}

class PrefixCacheTest : public testing::TestWithParam<const char*> {
 protected:
  std::unique_ptr<Engine> open(uint64_t prefix_cache_bytes, KvType kv = KvType::kF16) {
    EngineOptions options;
    options.model = kModels + GetParam();
    options.context = 1024;
    options.chunk = 100;
    options.threads = 2;
    options.max_sequences = 2;
    options.kv = kv;
    options.prefix_cache_bytes = prefix_cache_bytes;
    return Engine::open(options);
  }
  static Request request(const std::vector<int32_t>& prompt, std::vector<int64_t> points = {}) {
    Request r;
    r.prompt = prompt;
    r.options.max_tokens = 12;
    r.options.logprobs = 2;
    r.options.sampling.seed = 5;
    r.snapshot_points = std::move(points);
    return r;
  }
  struct Result {
    Generation generation;
    std::vector<TokenEvent> events;
  };
  static Result ask(Batcher& batcher, Request r) {
    const auto recorder = std::make_shared<Recorder>();
    batcher.submit(std::move(r), recorder);
    recorder->wait();
    EXPECT_FALSE(recorder->error());
    EXPECT_EQ(recorder->cached_tokens(), recorder->done()->cached_tokens);
    return {*recorder->done(), recorder->events()};
  }
  Result alone(const std::vector<int32_t>& prompt) {
    const std::unique_ptr<Engine> engine = open(0);
    Session session(*engine);
    Result result;
    result.generation =
        generate(session, prompt, request(prompt).options,
                 [&](const TokenEvent& event) { result.events.push_back(event); }, {});
    return result;
  }
  static void expect_same(const Result& a, const Result& b) {
    EXPECT_EQ(a.generation.tokens, b.generation.tokens);
    ASSERT_EQ(a.events.size(), b.events.size());
    for (size_t i = 0; i < a.events.size(); ++i) {
      EXPECT_EQ(a.events[i].logprob, b.events[i].logprob) << "token " << i;
    }
  }
  BatcherOptions on_disk(uint64_t bytes = uint64_t{1} << 30) const {
    BatcherOptions options;
    options.cache_dir = temp_.file("cache");
    options.cache_dir_bytes = bytes;
    return options;
  }
  std::vector<fs::path> files(const std::string& suffix) const {
    std::vector<fs::path> found;
    for (const fs::directory_entry& file : fs::directory_iterator(temp_.file("cache"))) {
      if (file.path().string().ends_with(suffix)) found.push_back(file.path());
    }
    std::sort(found.begin(), found.end());
    return found;
  }

  const TempFolder temp_;
  static constexpr uint64_t kPlenty = uint64_t{256} << 20;
};

TEST_P(PrefixCacheTest, AnswersAreTheSameFromMemory) {
  const std::vector<int32_t> system = random_ids(300, 1);
  std::vector<int32_t> first = system, second = system;
  for (int32_t id : random_ids(40, 2)) first.push_back(id);
  for (int32_t id : random_ids(250, 3)) second.push_back(id);
  const std::unique_ptr<Engine> engine = open(kPlenty);
  Batcher batcher(*engine);
  const Result a = ask(batcher, request(first, {300, 338}));
  EXPECT_EQ(a.generation.cached_tokens, 0);
  const Result b = ask(batcher, request(second, {300, 550}));
  EXPECT_EQ(b.generation.cached_tokens, 300);
  expect_same(a, alone(first));
  expect_same(b, alone(second));
  // The same again, from the last turn's end, and from the prompt's own.
  const Result again = ask(batcher, request(first, {300, 338}));
  EXPECT_EQ(again.generation.cached_tokens, 338);
  expect_same(again, a);
  const Result whole = ask(batcher, request(second, {300, 550}));
  EXPECT_EQ(whole.generation.cached_tokens, 550);
  expect_same(whole, b);
  // The next turn goes on from the answer's end; its last token was not run.
  std::vector<int32_t> third = first;
  for (int32_t id : a.generation.tokens) third.push_back(id);
  for (int32_t id : random_ids(20, 4)) third.push_back(id);
  const Result c = ask(batcher, request(third));
  EXPECT_EQ(c.generation.cached_tokens,
            static_cast<int64_t>(first.size() + a.generation.tokens.size()) - 1);
  expect_same(c, alone(third));
  const BatcherStats stats = batcher.stats();
  EXPECT_EQ(stats.prefix.memory_hits, 4);
  EXPECT_GT(stats.prefix.memory_bytes, 0u);
}

TEST_P(PrefixCacheTest, AnswersAreTheSameFromDisk) {
  const std::vector<int32_t> prompt = random_ids(700, 1);
  Result first;
  {
    const std::unique_ptr<Engine> engine = open(kPlenty);
    Batcher batcher(*engine, on_disk());
    first = ask(batcher, request(prompt, {100, 600, 695}));
  }
  expect_same(first, alone(prompt));
  const std::unique_ptr<Engine> engine = open(kPlenty);
  Batcher batcher(*engine, on_disk());
  const Result second = ask(batcher, request(prompt, {100, 600, 695}));
  EXPECT_EQ(second.generation.cached_tokens, 695);
  expect_same(second, first);
  EXPECT_EQ(batcher.stats().prefix.disk_hits, 1);
  std::vector<int32_t> other = prompt;
  other[650] = (other[650] + 1) % 96;
  const Result third = ask(batcher, request(other));
  EXPECT_EQ(third.generation.cached_tokens, 600);
  expect_same(third, alone(other));
  EXPECT_EQ(batcher.stats().prefix_disk.damaged, 0);
}

TEST_P(PrefixCacheTest, TheBudgetIsKept) {
  const std::unique_ptr<Engine> plenty = open(kPlenty);
  uint64_t one;
  {
    Batcher batcher(*plenty);
    ask(batcher, request(random_ids(300, 1), {300}));
    one = batcher.stats().prefix.memory_bytes;
  }
  const std::unique_ptr<Engine> engine = open(2 * one);
  EXPECT_EQ(engine->plan().prefix_cache, 2 * one);
  Batcher batcher(*engine, on_disk());
  for (unsigned i = 0; i < 12; ++i) {
    const std::vector<int32_t> prompt = random_ids(100 + 60 * i, i);
    const Result got = ask(batcher, request(prompt, {50, 90}));
    expect_same(got, alone(prompt));
    EXPECT_LE(batcher.stats().prefix.memory_bytes, 2 * one);
  }
}

TEST_P(PrefixCacheTest, PagesBeyondASessionsEndDoNotCount) {
  const std::vector<int32_t> ids = random_ids(400, 1);
  uint64_t bytes[2];
  for (const bool stopped : {false, true}) {
    const std::unique_ptr<Engine> engine = open(kPlenty);
    PrefixCache cache(*engine, "", 0);
    Session session(*engine);
    session.sync(std::span(ids).first(250));
    if (stopped) {
      EXPECT_THROW(session.sync(std::span(ids).first(300), [] { return true; }), Error);
      EXPECT_EQ(session.tokens().size(), 250u);
    }
    cache.keep(session);
    EXPECT_EQ(cache.stats().snapshots, 1);
    bytes[stopped ? 1 : 0] = cache.stats().memory_bytes;
  }
  EXPECT_EQ(bytes[0], bytes[1]);
}

TEST_P(PrefixCacheTest, AnotherModelsStatesAreNotUsed) {
  const std::vector<int32_t> prompt = random_ids(300, 1);
  {
    const std::unique_ptr<Engine> engine = open(kPlenty);
    Batcher batcher(*engine, on_disk());
    ask(batcher, request(prompt));
  }
  const std::unique_ptr<Engine> other = open(kPlenty, KvType::kF32);
  EXPECT_NE(state_identity(EngineAccess::parts(*other)),
            state_identity(EngineAccess::parts(*open(0))));
  {
    Batcher batcher(*other, on_disk());
    EXPECT_EQ(ask(batcher, request(prompt)).generation.cached_tokens, 0);
  }
  const std::unique_ptr<Engine> engine = open(kPlenty);
  Batcher batcher(*engine, on_disk());
  EXPECT_EQ(ask(batcher, request(prompt)).generation.cached_tokens, 300) << "both are kept";
}

TEST_P(PrefixCacheTest, WhatIsDamagedIsDroppedAndNeverUsed) {
  const std::vector<int32_t> prompt = random_ids(700, 1);
  const Result expected = alone(prompt);
  std::mt19937 random(1);
  for (int round = 0; round < 12; ++round) {
    fs::remove_all(temp_.file("cache"));
    {
      const std::unique_ptr<Engine> engine = open(kPlenty);
      Batcher batcher(*engine, on_disk());
      ask(batcher, request(prompt, {600}));
    }
    // A bit anywhere, or an end too early.
    std::vector<fs::path> all = files(".state");
    for (const fs::path& page : files(".page")) all.push_back(page);
    const std::string path = all[random() % all.size()].string();
    const std::string name = path.substr(path.rfind('/') + 1);
    std::string bytes = temp_.read("cache/" + name);
    if (round % 4 == 3) {
      bytes.resize(random() % bytes.size());
    } else {
      const size_t header = round % 4 == 0 ? std::min<size_t>(96, bytes.size()) : bytes.size();
      bytes[random() % header] ^= static_cast<char>(1 << random() % 8);
    }
    temp_.write("cache/" + name, bytes);
    const std::unique_ptr<Engine> engine = open(kPlenty);
    Batcher batcher(*engine, on_disk());
    const Result got = ask(batcher, request(prompt, {600}));
    expect_same(got, expected);
    EXPECT_TRUE(got.generation.cached_tokens == 0 || got.generation.cached_tokens == 600);
    // Asked for again, it comes from what has been written anew.
    expect_same(ask(batcher, request(prompt, {600})), expected);
  }
}

INSTANTIATE_TEST_SUITE_P(Models, PrefixCacheTest,
                         testing::Values("qwen3_5_moe_wrapper_bf16", "mlx_qwen3_moe_4bit_bf16"),
                         [](const auto& info) { return std::string(info.param); });

// The store alone, with made-up states.
class PrefixStoreTest : public testing::Test {
 protected:
  static constexpr PrefixStore::Shape kShape{256, 5000, 3000, 400};
  struct State {
    std::vector<int32_t> tokens;
    std::vector<std::vector<std::byte>> pages;
    std::vector<std::byte> recurrent, logits;
  };
  static std::vector<std::byte> bytes(size_t n, unsigned seed) {
    std::vector<std::byte> result(n);
    std::mt19937 random(seed);
    for (std::byte& b : result) b = static_cast<std::byte>(random());
    return result;
  }
  // Tokens begin as those of other states of the same `family`; so do pages.
  static State state(size_t tokens, unsigned family, bool with_logits = true) {
    State s;
    s.tokens = random_ids(tokens, family);
    for (size_t i = 0; i * 256 < tokens; ++i) {
      s.pages.push_back(bytes(5000, family * 100 + static_cast<unsigned>(i)));
    }
    s.recurrent = bytes(3000, family + static_cast<unsigned>(tokens));
    if (with_logits) s.logits = bytes(400, family + static_cast<unsigned>(tokens) + 1);
    return s;
  }
  static void write(PrefixStore& store, const State& s) {
    PrefixStore::Source source{s.tokens, {}, s.recurrent, s.logits};
    for (const auto& page : s.pages) source.pages.push_back(page);
    const auto done = std::make_shared<std::promise<void>>();
    store.write(source, [done] { done->set_value(); });
    done->get_future().wait();
  }
  static bool read(PrefixStore& store, const State& s) {
    State got = s;
    for (auto& page : got.pages) std::fill(page.begin(), page.end(), std::byte{});
    std::fill(got.recurrent.begin(), got.recurrent.end(), std::byte{});
    got.logits.assign(400, std::byte{});
    PrefixStore::Target target{{}, got.recurrent, got.logits};
    for (auto& page : got.pages) target.pages.push_back(page);
    const auto done = std::make_shared<std::promise<PrefixStore::Outcome>>();
    store.read(s.tokens, target, [done](PrefixStore::Outcome o) { done->set_value(o); });
    const PrefixStore::Outcome outcome = done->get_future().get();
    if (!outcome.good) return false;
    EXPECT_EQ(outcome.has_logits, !s.logits.empty());
    EXPECT_EQ(got.pages, s.pages);
    EXPECT_EQ(got.recurrent, s.recurrent);
    EXPECT_TRUE(!outcome.has_logits || got.logits == s.logits);
    return true;
  }
  std::string folder() const { return temp_.file("store"); }
  uint64_t folder_bytes() const {
    uint64_t total = 0;
    for (const fs::directory_entry& file : fs::directory_iterator(folder())) {
      total += file.file_size();
    }
    return total;
  }

  const TempFolder temp_;
  const Digest model_{1, 2};
};

TEST_F(PrefixStoreTest, FindsTheLongestPrefixAlsoAfterARestart) {
  const State shorter = state(300, 1), longer = state(700, 1), other = state(512, 2, false);
  for (int time = 0; time < 2; ++time) {
    PrefixStore store(folder(), 1 << 20, model_, kShape);
    if (time == 0) {
      for (const State& s : {shorter, longer, other}) write(store, s);
      // 700 tokens share the first page of 300.
      EXPECT_EQ(store.stats().bytes,
                4 * 5096 + (96 + 300 * 4 + 8400) + (96 + 700 * 4 + 8400) + (96 + 512 * 4 + 3000));
    }
    EXPECT_EQ(store.stats().bytes, folder_bytes());
    EXPECT_EQ(store.stats().states, 3);
    const std::vector<int32_t> tokens = random_ids(1000, 1);
    EXPECT_EQ(store.find(tokens), 700);
    EXPECT_EQ(store.find(std::span(tokens).first(700)), 700);
    EXPECT_EQ(store.find(std::span(tokens).first(699)), 300);
    EXPECT_EQ(store.find(std::span(tokens).first(200)), 0);
    EXPECT_EQ(store.find(random_ids(600, 2)), 512);
    EXPECT_EQ(store.find(random_ids(512, 2)), 0) << "has no logits";
    for (const State& s : {shorter, longer, other}) EXPECT_TRUE(read(store, s));
    EXPECT_FALSE(read(store, state(400, 1)));
    EXPECT_THROW(PrefixStore(folder(), 1 << 20, model_, kShape), Error) << "it is in use";
  }
}

TEST_F(PrefixStoreTest, DropsTheOldestBeyondItsLimit) {
  constexpr uint64_t kLimit = 60000;
  PrefixStore store(folder(), kLimit, model_, kShape);
  std::vector<State> states;
  for (unsigned i = 0; i < 8; ++i) {
    states.push_back(state(300, 10 + i));
    write(store, states[i]);
    EXPECT_TRUE(read(store, states[0])) << "it was used last";
    EXPECT_LE(store.stats().bytes, kLimit);
    EXPECT_EQ(store.stats().bytes, folder_bytes());
  }
  EXPECT_TRUE(store.holds(states[7].tokens));
  EXPECT_FALSE(store.holds(states[1].tokens));
  write(store, state(9000, 3));  // larger than all
  EXPECT_FALSE(store.holds(random_ids(9000, 3)));
  EXPECT_GT(store.stats().states, 2);
}

// A child that writes is killed; what the folder then holds is whole.
TEST_F(PrefixStoreTest, AKillDuringAWriteLosesNothingElse) {
  for (int round = 0; round < 8; ++round) {
    fs::remove_all(folder());
    std::array<int, 2> pipe_fds{};
    ASSERT_EQ(pipe(pipe_fds.data()), 0);
    const pid_t child = fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
      PrefixStore store(folder(), uint64_t{1} << 30, model_, kShape);
      for (unsigned i = 0;; ++i) {
        write(store, state(700, i));
        const char done = 0;
        if (::write(pipe_fds[1], &done, 1) != 1) _exit(1);
      }
    }
    close(pipe_fds[1]);
    std::vector<char> written(static_cast<size_t>(1 + 3 * round));
    for (char& c : written) ASSERT_EQ(::read(pipe_fds[0], &c, 1), 1);
    kill(child, SIGKILL);
    waitpid(child, nullptr, 0);
    close(pipe_fds[0]);

    PrefixStore store(folder(), uint64_t{1} << 30, model_, kShape);
    for (unsigned i = 0; i < written.size(); ++i) EXPECT_TRUE(read(store, state(700, i)));
    EXPECT_EQ(store.stats().damaged, 0);
    EXPECT_EQ(store.stats().bytes, folder_bytes());
    write(store, state(700, 1000));
    EXPECT_TRUE(read(store, state(700, 1000)));
  }
}

TEST_F(PrefixStoreTest, AFolderThatCannotBeMadeIsAnError) {
  temp_.write("file", "x");
  EXPECT_THROW(PrefixStore(temp_.file("file/store"), 1 << 20, model_, kShape), Error);
}

TEST(PrefixFileTest, HeadersAreReadAsWritten) {
  const PrefixFileHeader header{PrefixFileKind::kState, {1, 2}, {3, 4}, {5, 6}, 300, 7000};
  std::array<std::byte, kPrefixHeaderBytes> bytes{};
  encode_prefix_header(header, bytes);
  const uint64_t file_bytes = header.payload_offset() + 7000;
  EXPECT_EQ(decode_prefix_header(bytes, file_bytes), header);
  EXPECT_FALSE(decode_prefix_header(bytes, file_bytes - 1));
  for (size_t i = 0; i < bytes.size(); ++i) {
    std::array<std::byte, kPrefixHeaderBytes> damaged = bytes;
    damaged[i] ^= std::byte{16};
    EXPECT_FALSE(decode_prefix_header(damaged, file_bytes)) << "byte " << i;
  }
}

}  // namespace
}  // namespace flashmoe::engine
