// Many answers at once: each is what generate() gives alone, to the bit, whoever else is there.
#include "engine/batcher.h"

#include <gtest/gtest.h>

#include <random>

#include "base/error.h"
#include "io/fault_queue.h"
#include "tests/engine/forced_logits.h"
#include "tests/engine/recorder.h"
#include "tests/engine/toy_constraint.h"

namespace flashmoe::engine {
namespace {

const std::string kModels = std::string(FLASHMOE_SOURCE_DIR) + "/tests/golden/models/";
constexpr int kIds = 96;  // below every test model's vocabulary

struct Case {
  const char* model;
  bool streamed;  // with a cache of one token's experts
  int64_t chunk;
};

std::string case_name(const testing::TestParamInfo<Case>& info) {
  return std::string(info.param.model) + (info.param.streamed ? "_streamed_" : "_resident_") +
         std::to_string(info.param.chunk);
}

// What is asked, copyable, so that it can be asked twice.
struct Question {
  std::vector<int32_t> prompt;
  GenerateOptions options;
  int64_t pairs = 0;         // of ToyConstraint; 0: none
  int prompt_logprobs = -1;  // as in Request

  std::unique_ptr<text::TokenConstraint> constraint() const {
    return pairs > 0 ? std::make_unique<ToyConstraint>(pairs, kIds) : nullptr;
  }
  Request request() const { return {prompt, options, constraint(), {}, prompt_logprobs}; }
};

Question random_question(std::mt19937& random) {
  const auto below = [&](unsigned n) { return static_cast<int>(random() % n); };
  Question q;
  q.prompt.resize(static_cast<size_t>(1 + (below(3) == 0 ? below(150) : below(20))));
  for (int32_t& id : q.prompt) id = below(kIds);
  GenerateOptions& o = q.options;
  o.max_tokens = 4 + below(24);
  o.sampling.temperature = below(3) == 0 ? 0.0f : 1.5f;
  o.sampling.top_k = below(2) * 20;
  o.sampling.top_p = below(2) == 0 ? 1.0f : 0.9f;
  o.sampling.repetition_penalty = below(2) == 0 ? 1.0f : 1.3f;
  o.sampling.seed = random();
  o.logprobs = below(4) - 1;
  if (below(2) == 0) o.stop_tokens = {below(kIds), below(kIds)};
  if (below(3) == 0) o.think = {3, below(kIds), {below(kIds), below(kIds)}};
  if (below(3) == 0) o.logit_bias = {{below(kIds), 4.0f}, {below(kIds), -100.0f}};
  if (below(3) == 0) {
    q.pairs = 1 + below(2);
    o.max_tokens += 4;
  }
  q.prompt_logprobs = below(2) == 0 ? -1 : below(4);
  return q;
}

struct Alone {
  Generation generation;
  std::vector<TokenEvent> prompt_events, events;
};

Alone alone(Engine& engine, const Question& q) {
  Session session(engine);
  Alone result;
  result.generation = generate(
      session, q.prompt, q.options,
      [&](const TokenEvent& event) { result.events.push_back(event); }, {}, q.constraint());
  if (q.prompt_logprobs >= 0) {
    session.clear();
    Logits logits;
    append_logits(engine, session, q.prompt, 1, &logits);
    for (size_t i = 1; i < q.prompt.size(); ++i) {
      result.prompt_events.push_back(
          with_logprobs(logits.row(i - 1), q.prompt[i], q.prompt_logprobs));
    }
  }
  return result;
}

void expect_same(const std::vector<TokenEvent>& got, std::span<const TokenEvent> expected) {
  ASSERT_EQ(got.size(), expected.size());
  for (size_t i = 0; i < got.size(); ++i) {
    EXPECT_EQ(got[i].token, expected[i].token) << "token " << i;
    EXPECT_EQ(got[i].logprob, expected[i].logprob) << "token " << i;
    ASSERT_EQ(got[i].top.size(), expected[i].top.size());
    for (size_t j = 0; j < got[i].top.size(); ++j) {
      EXPECT_EQ(got[i].top[j].token, expected[i].top[j].token);
      EXPECT_EQ(got[i].top[j].logprob, expected[i].top[j].logprob);
    }
  }
}

class BatcherTest : public testing::Test {
 protected:
  std::unique_ptr<Engine> open(const std::string& model, int sequences, int64_t chunk = 64,
                               OpenHooks hooks = {}) {
    EngineOptions options;
    options.model = kModels + model;
    options.context = 256;
    options.chunk = chunk;
    options.threads = 2;
    options.max_sequences = sequences;
    return open_engine(options, hooks);
  }
  static Question question(size_t prompt_tokens, int64_t max_tokens) {
    Question q;
    q.prompt.resize(prompt_tokens);
    for (size_t i = 0; i < prompt_tokens; ++i) q.prompt[i] = static_cast<int32_t>(i * 7 % kIds);
    q.options.max_tokens = max_tokens;
    q.options.sampling.temperature = 0;
    return q;
  }
};

class BatcherIdentityTest : public BatcherTest, public testing::WithParamInterface<Case> {};

// Random requests, of which some arrive, and some are cancelled, in the middle of others' answers.
TEST_P(BatcherIdentityTest, EveryAnswerIsTheOneItIsAlone) {
  const std::unique_ptr<Engine> single = open(GetParam().model, 1);
  OpenHooks hooks;
  if (GetParam().streamed) hooks.cache_bytes = single->plan().token_experts;
  const std::unique_ptr<Engine> engine = open(GetParam().model, 5, GetParam().chunk, hooks);
  std::mt19937 random(7);
  constexpr size_t kRequests = 24;
  std::vector<Question> questions;
  std::vector<Alone> expected;
  std::vector<std::shared_ptr<Recorder>> recorders;
  std::vector<std::atomic<RequestId>> ids(kRequests);
  for (size_t i = 0; i < kRequests; ++i) {
    questions.push_back(random_question(random));
    expected.push_back(alone(*single, questions[i]));
    recorders.push_back(std::make_shared<Recorder>());
  }
  BatcherOptions options;
  options.rows_beside_answers = GetParam().chunk / 2;
  Batcher batcher(*engine, options);
  const auto submit = [&](size_t i) {
    ids[i] = batcher.submit(questions[i].request(), recorders[i]);
  };
  // The second half arrives with the first half's tokens; each fourth request is cancelled.
  for (size_t i = 0; i < kRequests / 2; ++i) {
    recorders[i]->at_end = [&, i] { submit(i + kRequests / 2); };
  }
  for (size_t i = 0; i < kRequests; i += 4) {
    recorders[i]->then = [&, i](size_t tokens) {
      if (tokens == 3) batcher.cancel(ids[i]);
    };
  }
  for (size_t i = 0; i < kRequests / 2; ++i) submit(i);
  for (size_t i = 0; i < kRequests / 2; ++i) recorders[i]->wait();
  for (const auto& recorder : recorders) recorder->wait();

  for (size_t i = 0; i < kRequests; ++i) {
    SCOPED_TRACE("request " + std::to_string(i));
    const Recorder& got = *recorders[i];
    ASSERT_FALSE(got.error()) << got.error()->what();
    EXPECT_EQ(got.done()->tokens, got.streamed());
    std::span<const TokenEvent> tokens = expected[i].events;
    if (i % 4 == 0 && tokens.size() > 3) {
      EXPECT_EQ(got.done()->finish, FinishReason::kCancelled);
      tokens = tokens.first(3);
    } else if (i % 4 != 0) {
      EXPECT_EQ(got.done()->finish, expected[i].generation.finish);
    }
    expect_same(got.events(), tokens);
    expect_same(got.prompt_events(), expected[i].prompt_events);
    const auto& stop = expected[i].generation.stop_event;
    if (i % 4 != 0) {
      EXPECT_EQ(got.done()->stop_event.has_value(), stop.has_value());
      if (stop && got.done()->stop_event) {
        expect_same({*got.done()->stop_event}, std::vector<TokenEvent>{*stop});
      }
    }
  }
  const BatcherStats stats = batcher.stats();
  EXPECT_EQ(stats.accepted, static_cast<int64_t>(kRequests));
  EXPECT_EQ(stats.finished + stats.cancelled, static_cast<int64_t>(kRequests));
  EXPECT_EQ(stats.queued, 0);
}

constexpr Case kCases[] = {
    {"qwen3_5_moe_wrapper_bf16", false, 64}, {"qwen3_5_moe_wrapper_bf16", true, 16},
    {"qwen3_next_split_bf16", true, 64},     {"mlx_qwen3_moe_4bit_bf16", false, 1},
    {"mlx_qwen3_moe_4bit_bf16", true, 32},
};
INSTANTIATE_TEST_SUITE_P(Models, BatcherIdentityTest, testing::ValuesIn(kCases), case_name);

TEST_F(BatcherTest, RefusesWhatCannotBeDone) {
  const std::unique_ptr<Engine> engine = open("qwen3_next_split_bf16", 2);
  BatcherOptions options;
  options.max_queued = 1;
  Batcher batcher(*engine, options);
  const auto expect_refused = [&](Question q, ErrorCode code, const std::string& words) {
    try {
      batcher.submit(q.request(), std::make_shared<Recorder>());
      ADD_FAILURE() << "was accepted: " << words;
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), code) << error.what();
      EXPECT_NE(std::string(error.what()).find(words), std::string::npos) << error.what();
    }
  };
  expect_refused(question(256, 1), ErrorCode::kUsage, "the context holds 256");
  Question q = question(4, 8);
  q.prompt[2] = engine->vocab();
  expect_refused(q, ErrorCode::kUsage, "outside the vocabulary");
  q = question(4, 8);
  q.options.sampling.top_p = 2;
  expect_refused(q, ErrorCode::kUsage, "top-p");
  q = question(4, 8);
  q.options.logprobs = 21;
  expect_refused(q, ErrorCode::kUsage, "20 is the most");
  q = question(4, 8);
  q.pairs = 5;
  expect_refused(q, ErrorCode::kUsage, "at least 10 tokens");

  // Two places, one waits, and there is no room for a fourth.
  std::vector<std::shared_ptr<Recorder>> recorders;
  std::vector<RequestId> ids;
  for (int i = 0; i < 2; ++i) {
    recorders.push_back(std::make_shared<Recorder>());
    ids.push_back(batcher.submit(question(4, -1).request(), recorders.back()));
    recorders.back()->wait_for_tokens(1);
  }
  recorders.push_back(std::make_shared<Recorder>());
  ids.push_back(batcher.submit(question(4, 2).request(), recorders.back()));
  expect_refused(question(4, 2), ErrorCode::kMemory, "waiting already");
  EXPECT_EQ(batcher.stats().refused, 6);
  // A place that comes free is taken at once.
  batcher.cancel(ids[0]);
  recorders[2]->wait();
  EXPECT_EQ(recorders[2]->done()->tokens.size(), 2u);
  batcher.cancel(ids[1]);
  batcher.cancel(12345);  // nobody's
  for (const auto& recorder : recorders) recorder->wait();
  EXPECT_EQ(recorders[0]->done()->finish, FinishReason::kCancelled);
}

TEST_F(BatcherTest, WhoWaitsTooLongIsSentAway) {
  const std::unique_ptr<Engine> engine = open("qwen3_next_split_bf16", 1);
  BatcherOptions options;
  options.max_wait_s = 1e-6;
  Batcher batcher(*engine, options);
  const auto first = std::make_shared<Recorder>(), second = std::make_shared<Recorder>();
  const RequestId id = batcher.submit(question(4, -1).request(), first);
  first->wait_for_tokens(1);
  batcher.submit(question(4, 2).request(), second);
  second->wait();
  ASSERT_TRUE(second->error());
  EXPECT_EQ(second->error()->code(), ErrorCode::kMemory);
  EXPECT_FALSE(second->started());
  batcher.cancel(id);
  first->wait();
}

TEST_F(BatcherTest, ShutdownDrainsOrAborts) {
  for (const bool drain : {true, false}) {
    const std::unique_ptr<Engine> engine = open("qwen3_next_split_bf16", 2);
    Batcher batcher(*engine);
    std::vector<std::shared_ptr<Recorder>> recorders;
    for (int i = 0; i < 5; ++i) {
      recorders.push_back(std::make_shared<Recorder>());
      batcher.submit(question(30, 40).request(), recorders.back());
    }
    recorders[0]->wait_for_tokens(1);
    batcher.shutdown(drain);
    int cancelled = 0;
    for (const auto& recorder : recorders) {
      ASSERT_FALSE(recorder->error()) << recorder->error()->what();
      ASSERT_TRUE(recorder->done());  // without waiting
      if (recorder->done()->finish == FinishReason::kCancelled) ++cancelled;
      EXPECT_TRUE(!drain || recorder->done()->tokens.size() == 40);
    }
    EXPECT_EQ(cancelled > 0, !drain);
    EXPECT_THROW(batcher.submit(question(3, 1).request(), recorders[0]), Error);
  }
}

// A cancelled sequence that is alone stops within its step.
TEST_F(BatcherTest, CancellingTakesEffectBetweenLayers) {
  const std::unique_ptr<Engine> engine = open("qwen3_next_split_bf16", 2, 256);
  Batcher batcher(*engine);
  const auto recorder = std::make_shared<Recorder>();
  const RequestId id = batcher.submit(question(200, 40).request(), recorder);
  batcher.cancel(id);
  recorder->wait();
  EXPECT_EQ(recorder->done()->finish, FinishReason::kCancelled);
  EXPECT_TRUE(recorder->done()->tokens.empty());
}

// Running answers get their tokens while a long prompt is being run, and prompts take turns.
TEST_F(BatcherTest, IsFairBetweenPromptsAndAnswers) {
  const std::unique_ptr<Engine> engine = open("qwen3_next_split_bf16", 3, 8);
  BatcherOptions options;
  options.rows_beside_answers = 4;
  Batcher batcher(*engine, options);
  const auto answer = std::make_shared<Recorder>();
  const RequestId id = batcher.submit(question(2, -1).request(), answer);
  answer->wait_for_tokens(1);
  const auto longer = std::make_shared<Recorder>(), shorter = std::make_shared<Recorder>();
  std::atomic<size_t> long_progress{0};
  shorter->then = [&](size_t tokens) {
    if (tokens == 1) long_progress = longer->progress().empty() ? 0 : longer->progress().back();
  };
  batcher.submit(question(160, 1).request(), longer);
  batcher.submit(question(16, 1).request(), shorter);
  longer->wait();
  shorter->wait();
  batcher.cancel(id);
  answer->wait();
  // 160 + 16 rows of prompts, at most 4 in a step beside the answer's row.
  EXPECT_GE(answer->events().size(), 44u);
  EXPECT_LE(long_progress, 40u) << "the short prompt waited for the long one";
}

// A disk that fails ends the answers that needed what was not read, and no others.
TEST_F(BatcherTest, AFailedReadEndsOnlyTheAnswersItBelongsTo) {
  const std::unique_ptr<Engine> single = open("qwen3_next_split_bf16", 1);
  std::vector<Question> questions;
  std::vector<Alone> expected;
  std::mt19937 random(3);
  for (int i = 0; i < 8; ++i) {
    questions.push_back(random_question(random));
    expected.push_back(alone(*single, questions.back()));
  }
  OpenHooks hooks;
  hooks.cache_bytes = single->plan().token_experts;
  hooks.wrap_queue = [&](std::unique_ptr<io::ReadQueue> queue) {
    io::FaultRates rates;
    rates.error = 0.002;
    return std::make_unique<io::FaultQueue>(std::move(queue), rates, 5);
  };
  const std::unique_ptr<Engine> engine = open("qwen3_next_split_bf16", 4, 64, hooks);
  Batcher batcher(*engine);
  std::vector<std::shared_ptr<Recorder>> recorders;
  for (const Question& q : questions) {
    recorders.push_back(std::make_shared<Recorder>());
    batcher.submit(q.request(), recorders.back());
  }
  int failed = 0;
  for (size_t i = 0; i < questions.size(); ++i) {
    recorders[i]->wait();
    const std::vector<TokenEvent>& got = recorders[i]->events();
    if (recorders[i]->error()) {
      ++failed;
      EXPECT_EQ(recorders[i]->error()->code(), ErrorCode::kIo);
    } else {
      ASSERT_EQ(got.size(), expected[i].events.size());
    }
    ASSERT_LE(got.size(), expected[i].events.size());
    expect_same(got, std::span(expected[i].events).first(got.size()));
  }
  EXPECT_LT(failed, 8);
  EXPECT_EQ(batcher.stats().failed, failed);
}

// The point of it all: experts that are read serve all sequences of a step.
TEST_F(BatcherTest, MoreStreamsReadLessForEachToken) {
  double alone_bytes = 0;
  for (const int streams : {1, 4}) {
    OpenHooks hooks;
    hooks.cache_bytes = open("qwen3_5_moe_wrapper_bf16", 1)->plan().token_experts;
    const std::unique_ptr<Engine> engine = open("qwen3_5_moe_wrapper_bf16", streams, 64, hooks);
    Batcher batcher(*engine);
    std::vector<std::shared_ptr<Recorder>> recorders;
    for (int i = 0; i < streams; ++i) {
      recorders.push_back(std::make_shared<Recorder>());
      Question q = question(static_cast<size_t>(3 + i), 60);
      q.options.sampling.temperature = 1;
      q.options.sampling.seed = static_cast<uint64_t>(i);
      batcher.submit(q.request(), recorders.back());
    }
    for (const auto& recorder : recorders) recorder->wait();
    batcher.shutdown(true);
    const BatcherStats stats = batcher.stats();
    EXPECT_EQ(stats.generated_tokens, 60 * streams);
    EXPECT_EQ(stats.engine.rows, stats.prompt_tokens + stats.generated_tokens - streams);
    const double bytes = static_cast<double>(stats.engine.expert_miss_bytes) /
                         static_cast<double>(stats.generated_tokens);
    if (streams == 1) {
      alone_bytes = bytes;
    } else {
      EXPECT_LT(bytes, alone_bytes);
    }
    // The map counts what the engine counts, also where nobody asked for it before.
    int64_t hits = 0, misses = 0, resident = 0;
    const experts::ExpertMap map = *batcher.expert_map();
    for (const experts::ExpertMap::Expert& e : map.entries) {
      hits += e.hits;
      misses += e.misses;
      resident += e.resident ? 1 : 0;
    }
    EXPECT_EQ(hits, stats.engine.expert_hits);
    EXPECT_EQ(misses, stats.engine.expert_misses);
    EXPECT_GT(resident, 0);
    EXPECT_EQ(map.layers, engine->routing_shape().layers);
  }
}

}  // namespace
}  // namespace flashmoe::engine
