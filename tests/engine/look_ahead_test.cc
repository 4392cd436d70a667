// Reading experts before they are asked for: on a trained model most guesses are right, and a
// prompt reads each expert once a chunk.
#include <gtest/gtest.h>

#include <fstream>

#include "engine/engine_parts.h"
#include "tests/engine/forced_logits.h"

namespace flashmoe::engine {
namespace {

class LookAheadTest : public testing::Test {
 protected:
  LookAheadTest() {
    options_.model = std::string(FLASHMOE_SOURCE_DIR) + "/models/tiny";
    options_.context = 512;
    options_.chunk = 128;
    ids_ = read_ids(std::string(FLASHMOE_SOURCE_DIR) + "/tests/golden/tiny_ids.txt");
    ids_.resize(256);
    hooks_.cache_bytes = Engine::open(options_)->plan().all_experts / 2;
  }

  EngineOptions options_;
  OpenHooks hooks_;
  std::vector<int32_t> ids_;
};

TEST_F(LookAheadTest, GuessesWhatATrainedModelNeeds) {
  const std::unique_ptr<Engine> engine = open_engine(options_, hooks_);
  Session session(*engine);
  for (size_t n = 1; n <= 100; ++n) session.sync(std::span(ids_).first(n));
  const EngineStats stats = engine->stats();
  EXPECT_GE(stats.expert_guesses, 100);
  EXPECT_GE(stats.expert_right_guesses, stats.expert_guesses / 2);
  EXPECT_LT(stats.expert_right_guesses, stats.expert_guesses) << "too good to be true";
}

TEST_F(LookAheadTest, IsOffIfNotWanted) {
  options_.look_ahead = false;
  const std::unique_ptr<Engine> engine = open_engine(options_, hooks_);
  Session session(*engine);
  for (size_t n = 1; n <= 20; ++n) session.sync(std::span(ids_).first(n));
  EXPECT_EQ(engine->stats().expert_guesses, 0);
}

// Half of the experts are resident, the others are read once in each of the two chunks.
TEST_F(LookAheadTest, APromptReadsEachExpertOnceAChunk) {
  options_.io = IoMode::kBuffered;  // reads are not rounded to blocks
  const std::unique_ptr<Engine> engine = open_engine(options_, hooks_);
  Session session(*engine);
  session.sync(ids_);
  const EngineStats stats = engine->stats();
  EXPECT_GT(stats.expert_misses, 0);
  EXPECT_GE(stats.disk_bytes, stats.expert_miss_bytes);
  EXPECT_LE(static_cast<double>(stats.disk_bytes),
            1.1 * static_cast<double>(stats.expert_miss_bytes));
}

}  // namespace
}  // namespace flashmoe::engine
