#include "engine/generate.h"

#include <gtest/gtest.h>

#include "base/error.h"
#include "tests/engine/forced_logits.h"

namespace flashmoe::engine {
namespace {

class GenerateTest : public testing::Test {
 protected:
  GenerateTest() {
    options_.sampling.temperature = 0;
    EngineOptions options;
    options.model = kFolder;
    options.backend = "ref";
    options.context = 128;
    engine_ = Engine::open(options);
    const std::vector<int32_t> ids = read_ids(kFolder + "/ids.txt");
    prompt_.assign(ids.begin(), ids.begin() + kPrompt);
    greedy_.assign(ids.begin() + kPrompt, ids.end());
  }

  Generation run(const StopCheck& stop = {}) {
    Session session(*engine_);
    return generate(
        session, prompt_, options_, [&](const TokenEvent& event) { sink_.push_back(event.token); },
        stop);
  }

  const std::string kFolder =
      std::string(FLASHMOE_SOURCE_DIR) + "/tests/golden/models/qwen3_next_split_bf16";
  static constexpr int kPrompt = 24;
  std::unique_ptr<Engine> engine_;
  std::vector<int32_t> prompt_, greedy_;  // greedy_: what transformers generates
  GenerateOptions options_;
  std::vector<int32_t> sink_;
};

TEST_F(GenerateTest, GreedyIsWhatTransformersGenerates) {
  options_.max_tokens = static_cast<int64_t>(greedy_.size());
  const Generation g = run();
  EXPECT_EQ(g.tokens, greedy_);
  EXPECT_EQ(sink_, greedy_);
  EXPECT_EQ(g.finish, FinishReason::kLength);
}

TEST_F(GenerateTest, StopsBeforeAStopToken) {
  const auto stop_at = std::find(greedy_.begin() + 5, greedy_.end(), greedy_[10]);
  options_.stop_tokens = {*stop_at};
  const Generation g = run();
  EXPECT_EQ(g.finish, FinishReason::kStop);
  EXPECT_EQ(g.tokens, std::vector<int32_t>(greedy_.begin(),
                                           std::find(greedy_.begin(), greedy_.end(), *stop_at)));
}

TEST_F(GenerateTest, EndsWithTheContext) {
  const Generation g = run();
  EXPECT_EQ(g.finish, FinishReason::kLength);
  EXPECT_EQ(static_cast<int64_t>(g.tokens.size()), engine_->context() - kPrompt);
}

TEST_F(GenerateTest, RefusesAPromptThatFillsTheContext) {
  prompt_.resize(128, 1);
  EXPECT_THROW(run(), Error);
}

TEST_F(GenerateTest, NoTokensAreWantedSoNoneCome) {
  options_.max_tokens = 0;
  EXPECT_TRUE(run().tokens.empty());
}

TEST_F(GenerateTest, KeepsWhatItHasWhenStopped) {
  const Generation g = run([&] { return sink_.size() >= 7; });
  EXPECT_EQ(g.finish, FinishReason::kCancelled);
  EXPECT_EQ(g.tokens, std::vector<int32_t>(greedy_.begin(), greedy_.begin() + 7));
}

TEST_F(GenerateTest, AThinkBudgetClosesTheReasoning) {
  // The third greedy token plays <think>; tokens 90 and 91 play </think> and a blank line.
  const int32_t open = greedy_[2];
  options_.think = {4, open, {90, 91}};
  options_.max_tokens = 12;
  const Generation g = run();
  const auto begin = std::find(g.tokens.begin(), g.tokens.end(), open);
  ASSERT_NE(begin, g.tokens.end());
  const auto close = std::find(begin, g.tokens.end(), 90);
  ASSERT_NE(close, g.tokens.end());
  EXPECT_EQ(close - begin, 5);  // the opening and four tokens of reasoning
  EXPECT_EQ(close[1], 91);
}

TEST_F(GenerateTest, AReasoningThatThePromptOpenedCounts) {
  prompt_.push_back(90);
  options_.think = {0, 90, {91}};
  options_.max_tokens = 3;
  EXPECT_EQ(run().tokens.front(), 91);
}

}  // namespace
}  // namespace flashmoe::engine
