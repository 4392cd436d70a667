// One answer, token by token, on logits made up for it.
#include "engine/answer.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "base/error.h"
#include "tests/engine/toy_constraint.h"

namespace flashmoe::engine {
namespace {

class AnswerTest : public testing::Test {
 protected:
  AnswerTest() {
    EngineOptions options;
    options.model = std::string(FLASHMOE_SOURCE_DIR) + "/tests/golden/models/qwen3_next_split_bf16";
    options.context = 64;
    engine_ = Engine::open(options);
    options_.sampling.temperature = 0;
  }
  // Logits that favour `token`, then the others by descending id.
  std::vector<float> favour(int32_t token) const {
    std::vector<float> logits(static_cast<size_t>(engine_->vocab()));
    for (size_t i = 0; i < logits.size(); ++i) logits[i] = 0.01f * static_cast<float>(i);
    logits[static_cast<size_t>(token)] = 20;
    return logits;
  }
  std::unique_ptr<ToyConstraint> pairs(int64_t n) {
    return std::make_unique<ToyConstraint>(n, static_cast<int32_t>(engine_->vocab()));
  }
  // The answer when the model always wants `wanted[i]` as its i-th token.
  std::vector<int32_t> run(Answer& answer, const std::vector<int32_t>& wanted) {
    for (size_t i = 0; !answer.ended(); ++i) {
      answer.next(favour(i < wanted.size() ? wanted[i] : wanted.back()));
    }
    return answer.tokens();
  }

  std::unique_ptr<Engine> engine_;
  GenerateOptions options_;
  const std::vector<int32_t> prompt_{1, 2, 3};
};

TEST_F(AnswerTest, TellsTheModelsOwnProbabilities) {
  options_.logprobs = 3;
  options_.logit_bias = {{7, 50.0f}};
  Answer answer(*engine_, prompt_, options_);
  const std::vector<float> logits = favour(5);
  const TokenEvent event = *answer.next(logits);
  EXPECT_EQ(event.token, 7);  // by its bias, which its probability does not show
  double total = 0;
  for (float logit : logits) total += std::exp(double{logit});
  EXPECT_NEAR(event.logprob, logits[7] - std::log(total), 1e-5);
  ASSERT_EQ(event.top.size(), 3u);
  EXPECT_EQ(event.top[0].token, 5);
  EXPECT_EQ(event.top[1].token, engine_->vocab() - 1);
  EXPECT_EQ(event.top[2].token, engine_->vocab() - 2);
  EXPECT_NEAR(event.top[0].logprob, logits[5] - std::log(total), 1e-5);
}

TEST_F(AnswerTest, EqualProbabilitiesAreToldByAscendingToken) {
  const std::vector<float> logits{1, 3, 3, 0, 3};
  const TokenEvent event = with_logprobs(logits, 0, 4);
  ASSERT_EQ(event.top.size(), 4u);
  const int32_t expected[] = {1, 2, 4, 0};
  for (size_t i = 0; i < 4; ++i) EXPECT_EQ(event.top[i].token, expected[i]);
  EXPECT_EQ(with_logprobs(logits, 0, 20).top.size(), 5u);
}

TEST_F(AnswerTest, AConstraintRulesTheAnswer) {
  options_.stop_tokens = {9};
  options_.max_tokens = 20;
  Answer answer(*engine_, prompt_, options_, pairs(2));
  // 9 stops when the answer is whole, and is one of the odd tokens before.
  EXPECT_EQ(run(answer, {4, 4, 6, 9, 9}).size(), 4u);
  EXPECT_TRUE(ToyConstraint::holds(answer.tokens(), 2));
  EXPECT_EQ(answer.finish(), FinishReason::kStop);
}

TEST_F(AnswerTest, AConstrainedAnswerEndsWholeAtTheLimit) {
  for (int64_t limit : {4, 5, 6, 7}) {
    options_.max_tokens = limit;
    Answer answer(*engine_, prompt_, options_, pairs(2));
    run(answer, {4});
    EXPECT_TRUE(ToyConstraint::holds(answer.tokens(), 2)) << limit;
    EXPECT_EQ(answer.finish(), FinishReason::kStop);
  }
  options_.max_tokens = 3;
  EXPECT_THROW(Answer(*engine_, prompt_, options_, pairs(2)), Error);
}

TEST_F(AnswerTest, AConstraintWithNothingMoreToSayEndsTheAnswer) {
  options_.max_tokens = 40;
  Answer answer(*engine_, prompt_, options_, pairs(2));
  EXPECT_EQ(run(answer, {4}).size(), 8u);
  EXPECT_EQ(answer.finish(), FinishReason::kStop);
}

TEST_F(AnswerTest, TheReasoningIsFree) {
  options_.think = {-1, 50, {51, 52}};
  options_.max_tokens = 20;
  options_.stop_tokens = {9};
  Answer answer(*engine_, prompt_, options_, pairs(1));
  // The section that the model opens may hold anything but its end; then comes 52 by itself.
  const std::vector<int32_t> tokens = run(answer, {50, 3, 3, 9, 51, 7, 4, 4, 9});
  EXPECT_EQ(tokens[0], 50);
  EXPECT_EQ(tokens[1], 3);
  EXPECT_NE(tokens[3], 9) << "a stop token would leave no answer";
  EXPECT_EQ(tokens[4], 51);
  EXPECT_EQ(tokens[5], 52);
  EXPECT_TRUE(ToyConstraint::holds({tokens.begin() + 6, tokens.end()}, 1));
}

TEST_F(AnswerTest, TheReasoningEndsWhileThereIsRoomForTheAnswer) {
  options_.think = {-1, 50, {51, 52}};
  options_.max_tokens = 12;
  std::vector<int32_t> prompt = prompt_;
  prompt.push_back(50);
  Answer answer(*engine_, prompt, options_, pairs(2));
  const std::vector<int32_t> tokens = run(answer, {3});
  ASSERT_EQ(tokens.size(), 12u);
  EXPECT_EQ(tokens[6], 51);
  EXPECT_EQ(tokens[7], 52);
  EXPECT_TRUE(ToyConstraint::holds({tokens.begin() + 8, tokens.end()}, 2));
  options_.max_tokens = 5;  // two to close, four to answer
  EXPECT_THROW(Answer(*engine_, prompt, options_, pairs(2)), Error);
}

TEST_F(AnswerTest, TheBudgetEndsTheReasoning) {
  options_.max_tokens = 12;
  for (const int64_t budget : {0, 1, 5}) {
    options_.think = {budget, 50, {51, 52}};
    for (const bool in_prompt : {false, true}) {
      std::vector<int32_t> prompt = prompt_, expected;
      (in_prompt ? prompt : expected).push_back(50);
      for (int64_t i = 0; i < budget; ++i) expected.push_back(3);
      expected.insert(expected.end(), {51, 52});
      while (expected.size() < 12) expected.push_back(3);
      Answer answer(*engine_, prompt, options_);
      std::vector<int32_t> wanted(12, 3);
      if (!in_prompt) wanted[0] = 50;
      EXPECT_EQ(run(answer, wanted), expected) << budget << in_prompt;
      EXPECT_EQ(answer.finish(), FinishReason::kLength);
    }
  }
}

TEST_F(AnswerTest, AMarkerThatAUserWroteOpensNothing) {
  options_.think = {0, 50, {51, 52}};
  for (size_t behind = 0; behind < 8; ++behind) {
    std::vector<int32_t> prompt = prompt_;
    prompt.push_back(50);
    prompt.insert(prompt.end(), behind, 7);
    Answer answer(*engine_, prompt, options_);
    EXPECT_EQ(answer.next(favour(3))->token == 51, behind <= 4) << behind;
  }
}

TEST_F(AnswerTest, AShorterReasoningIsLeftAlone) {
  options_.think = {5, 50, {51, 52}};
  options_.max_tokens = 8;
  Answer answer(*engine_, prompt_, options_);
  const std::vector<int32_t> wanted{50, 3, 3, 51, 7, 7, 7, 7};
  EXPECT_EQ(run(answer, wanted), wanted);
}

TEST_F(AnswerTest, AnAnswerHasOneReasoning) {
  options_.think = {2, 50, {51, 52}};
  options_.max_tokens = 12;
  Answer answer(*engine_, prompt_, options_);
  // The second opening is text, which no budget ends.
  const std::vector<int32_t> tokens = run(answer, {50, 3, 3, 3, 3, 50, 3});
  EXPECT_EQ(tokens, (std::vector<int32_t>{50, 3, 3, 51, 52, 50, 3, 3, 3, 3, 3, 3}));
}

TEST_F(AnswerTest, TheBudgetLeavesRoomForTheAnswer) {
  options_.stop_tokens = {9};
  for (const int64_t budget : {0, 1, 4, 100}) {
    for (const int64_t limit : {6, 7, 9, 30}) {
      options_.think = {budget, 50, {51, 52}};
      options_.max_tokens = limit;
      for (const bool in_prompt : {false, true}) {
        std::vector<int32_t> prompt = prompt_;
        if (in_prompt) prompt.push_back(50);
        Answer answer(*engine_, prompt, options_, pairs(2));
        const std::vector<int32_t> tokens = run(answer, {50, 3});
        // What comes before the answer, markers and all.
        const auto closed = std::find(tokens.begin(), tokens.end(), 51);
        const bool opened = in_prompt || tokens[0] == 50;
        ASSERT_EQ(opened, closed != tokens.end()) << budget << limit;
        EXPECT_TRUE(in_prompt || budget > 0 || !opened);
        const auto begin = opened ? closed + 2 : tokens.begin();
        if (opened) {
          EXPECT_LE(closed - tokens.begin(), budget + 1);
        }
        EXPECT_TRUE(ToyConstraint::holds({begin, tokens.end()}, 2)) << budget << limit;
        EXPECT_LE(static_cast<int64_t>(tokens.size()), limit);
        EXPECT_EQ(answer.finish(), FinishReason::kStop);
      }
    }
  }
}

TEST_F(AnswerTest, MarkersWithinAConstrainedAnswerAreText) {
  options_.think = {-1, 50, {51, 52}};
  options_.max_tokens = 30;
  Answer answer(*engine_, prompt_, options_, pairs(3));
  // A section, closed with 51 and the 52 that is put in; then the constraint allows 50 and 51.
  const std::vector<int32_t> tokens =
      run(answer, {50, 3, 51, 0, 50, 51, 50, 7, 50, 51, 4, 51, 50, 3});
  const std::vector<int32_t> begin{50, 3, 51, 52, 50, 51, 50, 7, 50, 51, 4, 51};
  ASSERT_GE(tokens.size(), begin.size());
  EXPECT_TRUE(std::equal(begin.begin(), begin.end(), tokens.begin()));
  EXPECT_TRUE(ToyConstraint::holds({tokens.begin() + 4, tokens.end()}, 3));
}

TEST_F(AnswerTest, AReasoningThatIsSwitchedOffStaysOff) {
  options_.think = {-1, 51, {53, 55}};
  options_.max_tokens = 20;
  for (const bool off : {true, false}) {
    std::vector<int32_t> prompt = prompt_;
    if (off) prompt.insert(prompt.end(), {51, 55, 53, 55});
    Answer answer(*engine_, prompt, options_, pairs(1));
    EXPECT_EQ(answer.next(favour(51))->token == 51, !off);
  }
}

}  // namespace
}  // namespace flashmoe::engine
