#include "engine/sampler.h"

#include <gtest/gtest.h>

#include <cmath>
#include <map>

#include "base/error.h"

namespace flashmoe::engine {
namespace {

std::map<int32_t, double> frequencies(const SamplingOptions& options, std::vector<float> logits,
                                      int draws = 20000) {
  std::map<int32_t, double> result;
  for (int i = 0; i < draws; ++i) {
    SamplingOptions seeded = options;
    seeded.seed = static_cast<uint64_t>(i);
    std::vector<float> copy = logits;
    result[Sampler(seeded).sample(copy)] += 1.0 / draws;
  }
  return result;
}

TEST(SamplerTest, GreedyTakesTheLowestIdOnTies) {
  SamplingOptions options;
  options.temperature = 0;
  std::vector<float> logits = {1, 3, 3, 2};
  EXPECT_EQ(Sampler(options).sample(logits), 1);
}

TEST(SamplerTest, FollowsTheDistribution) {
  const auto f = frequencies({}, {std::log(1.0f), std::log(2.0f), std::log(5.0f)});
  EXPECT_NEAR(f.at(0), 0.125, 0.01);
  EXPECT_NEAR(f.at(1), 0.25, 0.012);
  EXPECT_NEAR(f.at(2), 0.625, 0.014);
}

TEST(SamplerTest, TemperatureSharpens) {
  SamplingOptions options;
  options.temperature = 0.5f;  // squares the odds
  const auto f = frequencies(options, {0, std::log(3.0f)});
  EXPECT_NEAR(f.at(1), 0.9, 0.01);
}

TEST(SamplerTest, TopKKeepsTheLowestIdsOnTies) {
  SamplingOptions options;
  options.top_k = 2;
  const auto f = frequencies(options, {0, 1, 1, 1});
  EXPECT_EQ(f.size(), 2u);
  EXPECT_TRUE(f.contains(1) && f.contains(2));
}

TEST(SamplerTest, TopPKeepsTheFewestThatReachIt) {
  SamplingOptions options;
  options.top_p = 0.7f;  // 0.5 is not enough, 0.5 + 0.3 is
  const auto f = frequencies(options, {std::log(0.2f), std::log(0.5f), std::log(0.3f)});
  EXPECT_EQ(f.size(), 2u);
  EXPECT_NEAR(f.at(1), 0.625, 0.014);
  EXPECT_NEAR(f.at(2), 0.375, 0.014);
}

TEST(SamplerTest, TopPAlwaysKeepsOne) {
  SamplingOptions options;
  options.top_p = 1e-6f;
  const auto f = frequencies(options, {0, 1, 2}, 50);
  EXPECT_EQ(f.size(), 1u);
  EXPECT_TRUE(f.contains(2));
}

TEST(SamplerTest, MinPDropsTheImprobable) {
  SamplingOptions options;
  options.min_p = 0.5f;
  const auto f = frequencies(options, {std::log(1.0f), std::log(4.0f), std::log(3.0f)});
  EXPECT_FALSE(f.contains(0));
  EXPECT_NEAR(f.at(1), 4.0 / 7, 0.014);
}

TEST(SamplerTest, PenaltiesCountPromptAndGeneration) {
  SamplingOptions options;
  options.temperature = 0;
  options.repetition_penalty = 2;
  Sampler repetition(options);
  const std::vector<int32_t> prompt = {1};
  repetition.see_prompt(prompt);
  std::vector<float> logits = {1.5f, 2.5f, -1};
  EXPECT_EQ(repetition.sample(logits), 0);  // 2.5 / 2 < 1.5

  options.repetition_penalty = 1;
  options.presence_penalty = 1;
  Sampler presence(options);
  presence.see_prompt(prompt);  // does not count
  std::vector<int32_t> drawn;
  for (int i = 0; i < 3; ++i) {
    std::vector<float> l = {2, 2.5f, 0};
    drawn.push_back(presence.sample(l));
  }
  EXPECT_EQ(drawn, (std::vector<int32_t>{1, 0, 1}));

  options.presence_penalty = 0;
  options.frequency_penalty = 0.3f;
  Sampler frequency(options);
  drawn.clear();
  for (int i = 0; i < 4; ++i) {
    std::vector<float> l = {2, 2.5f, 0};
    drawn.push_back(frequency.sample(l));
  }
  EXPECT_EQ(drawn, (std::vector<int32_t>{1, 1, 0, 1}));
}

TEST(SamplerTest, SeedDecides) {
  const auto draw = [](uint64_t seed) {
    SamplingOptions options;
    options.seed = seed;
    Sampler sampler(options);
    std::vector<int32_t> tokens;
    for (int i = 0; i < 32; ++i) {
      std::vector<float> logits(50, 0.0f);
      tokens.push_back(sampler.sample(logits));
    }
    return tokens;
  };
  EXPECT_EQ(draw(7), draw(7));
  EXPECT_NE(draw(7), draw(8));
}

TEST(SamplerTest, RefusesSettingsOutOfRange) {
  for (auto change : std::vector<void (*)(SamplingOptions&)>{
           [](SamplingOptions& o) { o.temperature = -1; },
           [](SamplingOptions& o) { o.top_p = -1; },
           [](SamplingOptions& o) { o.top_p = NAN; },
           [](SamplingOptions& o) { o.min_p = 2; },
           [](SamplingOptions& o) { o.top_k = -1; },
           [](SamplingOptions& o) { o.repetition_penalty = 0; },
       }) {
    SamplingOptions options;
    change(options);
    EXPECT_THROW(Sampler sampler(options), Error);
  }
}

}  // namespace
}  // namespace flashmoe::engine
