// The same tokens give the same bits however they are run: whatever is resident, whoever reads,
// however many threads, however a prompt is cut, whoever shares the step, and from a snapshot.
#include <gtest/gtest.h>

#include <random>

#include "base/error.h"
#include "convert/pack.h"
#include "format/locate.h"
#include "io/fault_queue.h"
#include "tests/base/temp_folder.h"
#include "tests/engine/forced_logits.h"

namespace flashmoe::engine {
namespace {

const std::string kModels = std::string(FLASHMOE_SOURCE_DIR) + "/tests/golden/models/";

struct Case {
  const char* model;
  const char* backend;
  KvType kv;
};

std::string case_name(const testing::TestParamInfo<Case>& info) {
  return std::string(info.param.model) + "_" + info.param.backend +
         (info.param.kv == KvType::kF16 ? "_kv16" : "_kv32");
}

class IdentityTest : public testing::TestWithParam<Case> {
 protected:
  static constexpr size_t kPrompt = 300;  // more than a page of the key-value cache
  static constexpr size_t kTokens = 320;

  IdentityTest() {
    options_.model = kModels + GetParam().model;
    options_.backend = GetParam().backend;
    options_.kv = GetParam().kv;
    options_.context = 512;
    options_.chunk = 64;
    options_.threads = 2;
    ids_ = random_ids(kTokens, 1);
  }

  std::vector<int32_t> random_ids(size_t n, unsigned seed) const {
    std::mt19937 random(seed);
    std::vector<int32_t> ids(n);
    for (int32_t& id : ids) id = static_cast<int32_t>(random() % 100);
    return ids;
  }

  const Logits& expected() {
    if (expected_.values.empty()) expected_ = forced_logits(options_, ids_, kPrompt);
    return expected_;
  }
  void expect_same(const EngineOptions& options, const std::string& what,
                   const OpenHooks& hooks = {}) {
    EXPECT_TRUE(forced_logits(options, ids_, kPrompt, hooks) == expected()) << what;
  }

  EngineOptions options_;
  std::vector<int32_t> ids_;
  Logits expected_;
};

TEST_P(IdentityTest, WhateverIsResident) {
  const MemoryPlan plan = Engine::open(options_)->plan();
  ASSERT_LT(plan.token_experts, plan.all_experts);
  for (uint64_t cache : {plan.token_experts, plan.all_experts / 2, plan.all_experts}) {
    OpenHooks hooks;
    hooks.cache_bytes = cache;
    expect_same(options_, "cache of " + std::to_string(cache), hooks);
  }
}

TEST_P(IdentityTest, WhateverIsReadAhead) {
  EngineOptions options = options_;
  options.look_ahead = false;
  const MemoryPlan plan = Engine::open(options_)->plan();
  for (uint64_t cache : {plan.token_experts, plan.all_experts / 2}) {
    OpenHooks hooks;
    hooks.cache_bytes = cache;
    expect_same(options, "no look-ahead, cache of " + std::to_string(cache), hooks);
  }
}

// A store's experts are computed as they come from disk, or copied, or turned back into rows.
TEST_P(IdentityTest, InPlaceOrPacked) {
  const TempFolder folder;
  EngineOptions options = options_;
  options.model = folder.file("store");
  convert::pack(format::locate_model(options_.model, format::process_environment()), options.model);
  const MemoryPlan plan = Engine::open(options)->plan();
  for (const bool checksums : {false, true}) {
    options.checksums = checksums;
    for (uint64_t cache : {plan.token_experts, plan.all_experts / 2, plan.all_experts}) {
      OpenHooks hooks;
      hooks.cache_bytes = cache;
      expect_same(options, "packed, cache of " + std::to_string(cache), hooks);
    }
  }
}

TEST_P(IdentityTest, WhoeverReads) {
  for (IoMode io : {IoMode::kUring, IoMode::kPread, IoMode::kBuffered}) {
    EngineOptions options = options_;
    options.io = io;
    OpenHooks hooks;
    hooks.cache_bytes = Engine::open(options_)->plan().token_experts;
    expect_same(options, "io " + std::to_string(static_cast<int>(io)), hooks);
  }
}

TEST_P(IdentityTest, HoweverManyThreads) {
  for (int threads : {1, 2, 3}) {
    EngineOptions options = options_;
    options.threads = threads;
    expect_same(options, std::to_string(threads) + " threads");
  }
}

TEST_P(IdentityTest, HoweverThePromptIsCut) {
  for (int64_t chunk : {1, 7, 64, 512}) {
    EngineOptions options = options_;
    options.chunk = chunk;
    expect_same(options, "chunks of " + std::to_string(chunk));
  }
}

TEST_P(IdentityTest, AloneOrBesideOthers) {
  EngineOptions options = options_;
  options.max_sequences = 3;
  const std::unique_ptr<Engine> engine = Engine::open(options);
  Session session(*engine), decoding(*engine), prompting(*engine);
  const std::vector<int32_t> other = random_ids(kTokens, 2), third = random_ids(kTokens, 3);
  decoding.sync(std::span(other).first(40));

  // Each step: 20 rows of our sequence, between one of a decoding and some of a prompt.
  Logits logits{engine->vocab(), {}};
  for (size_t at = 0; at < kTokens; at += 20) {
    const Engine::StepItem items[] = {{&decoding, std::span(other).subspan(40 + at / 20, 1)},
                                      {&session, std::span(ids_).subspan(at, 20)},
                                      {&prompting, std::span(third).subspan(at / 20 * 9, 9)}};
    engine->step(items);
    std::vector<int32_t> rows(20);
    std::iota(rows.begin(), rows.end(), 1);
    const size_t old_size = logits.values.size();
    logits.values.resize(old_size + 20 * static_cast<size_t>(engine->vocab()));
    engine->row_logits(rows, logits.values.data() + old_size);
  }
  EXPECT_TRUE(logits == expected());
  // And the others are as if alone, too.
  const std::vector<float> beside(decoding.logits().begin(), decoding.logits().end());
  Session alone(*engine);
  alone.sync(decoding.tokens());
  EXPECT_TRUE(std::equal(beside.begin(), beside.end(), alone.logits().begin()));
}

TEST_P(IdentityTest, FromASnapshot) {
  EngineOptions options = options_;
  options.max_sequences = 4;  // sessions and snapshots share the pages
  const std::unique_ptr<Engine> engine = Engine::open(options);
  for (size_t cut : {size_t{1}, size_t{100}, size_t{256}, size_t{299}}) {
    Session session(*engine);
    session.sync(std::span(ids_).first(cut));
    const SessionSnapshot snapshot = session.snapshot();
    // What follows, here and in another session, must not disturb the snapshot.
    session.sync(random_ids(cut + 50, 9));
    for (int time = 0; time < 2; ++time) {
      Session restored(*engine);
      restored.restore(snapshot);
      EXPECT_EQ(restored.tokens().size(), cut);
      Logits logits{engine->vocab(), {}};
      append_logits(*engine, restored, std::span(ids_).subspan(cut), 33, &logits);
      for (size_t i = 0; i < logits.rows(); ++i) {
        ASSERT_TRUE(
            std::equal(logits.row(i).begin(), logits.row(i).end(), expected().row(cut + i).begin()))
            << "cut " << cut << " row " << i;
      }
    }
  }
}

TEST_P(IdentityTest, AfterACancelledStep) {
  const std::unique_ptr<Engine> engine = Engine::open(options_);
  Session session(*engine);
  session.sync(std::span(ids_).first(70));
  for (int layers : {0, 1}) {
    int asked = 0;
    EXPECT_THROW(session.sync(std::span(ids_).first(90), [&] { return asked++ == layers; }), Error);
    EXPECT_EQ(session.tokens().size(), 70u);
  }
  session.sync(std::span(ids_).first(90));
  const std::span<const float> row = expected().row(89);
  EXPECT_TRUE(std::equal(row.begin(), row.end(), session.logits().begin()));
}

// A disk that stumbles delays the answer or ends it with an error; it never changes it.
TEST_P(IdentityTest, WithAFaultyDisk) {
  const uint64_t cache = Engine::open(options_)->plan().token_experts;
  int failed = 0, finished = 0;
  for (uint64_t seed = 0; seed < 6; ++seed) {
    OpenHooks hooks;
    hooks.cache_bytes = cache;
    hooks.wrap_queue = [&](std::unique_ptr<io::ReadQueue> queue) {
      io::FaultRates rates;
      rates.short_read = 0.2;
      rates.reorder = 0.3;
      rates.delay = 0.01;
      rates.max_delay = std::chrono::microseconds(200);
      rates.error = seed % 2 == 0 ? 0 : 0.01;
      return std::make_unique<io::FaultQueue>(std::move(queue), rates, seed);
    };
    EngineOptions options = options_;
    options.io = seed % 3 == 0   ? IoMode::kUring
                 : seed % 3 == 1 ? IoMode::kPread
                                 : IoMode::kBuffered;
    const std::unique_ptr<Engine> engine = open_engine(options, hooks);
    Session session(*engine);
    while (session.tokens().size() < kTokens) {
      const size_t at = session.tokens().size();
      const size_t n = std::min<size_t>(at < kPrompt ? 50 : 1, kTokens - at);
      const Engine::StepItem item{&session, std::span(ids_).subspan(at, n)};
      try {
        engine->step({&item, 1});
      } catch (const Error& error) {  // the session is as before: try again
        EXPECT_EQ(error.code(), ErrorCode::kIo);
        EXPECT_NE(std::string(error.what()).find("cannot read"), std::string::npos);
        EXPECT_EQ(session.tokens().size(), at);
        ++failed;
        continue;
      }
      ++finished;
      const std::span<const float> row = expected().row(session.tokens().size() - 1);
      ASSERT_TRUE(std::equal(row.begin(), row.end(), session.logits().begin()))
          << "seed " << seed << " at token " << session.tokens().size();
    }
  }
  EXPECT_GT(failed, 0);
  EXPECT_GT(finished, 0);
}

constexpr Case kCases[] = {
    {"qwen3_5_moe_wrapper_bf16", "ref", KvType::kF32},
    {"qwen3_5_moe_wrapper_bf16", "cpu", KvType::kF16},
    {"qwen3_next_split_bf16", "cpu", KvType::kF32},
    {"qwen3_moe_dense_layer_f32", "cpu", KvType::kF16},
    {"mlx_qwen3_moe_4bit_bf16", "ref", KvType::kF16},
    {"mlx_qwen3_moe_4bit_bf16", "cpu", KvType::kF16},
    {"gguf_qwen35moe_tiled", "ref", KvType::kF32},
    {"gguf_qwen35moe_tiled", "cpu", KvType::kF16},
    {"mlx_qwen3_moe_nvfp4_global", "cpu", KvType::kF16},
    {"fp8_qwen3_5_moe_blocks_f32", "cpu", KvType::kF16},
    {"gptq_qwen3_next_act_order_v2", "cpu", KvType::kF16},
    {"awq_qwen3_moe", "cpu", KvType::kF16},
};

INSTANTIATE_TEST_SUITE_P(Models, IdentityTest, testing::ValuesIn(kCases), case_name);

}  // namespace
}  // namespace flashmoe::engine
