#include "eval/text_scores.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "base/error.h"

namespace flashmoe::eval {
namespace {

std::unique_ptr<Engine> tiny(int experts_per_token) {
  EngineOptions options;
  options.model = FLASHMOE_SOURCE_DIR "/models/tiny";
  options.threads = 1;
  options.context = 64;
  options.chunk = 7;
  options.experts_per_token = experts_per_token;
  return Engine::open(options);
}

std::vector<int32_t> some_tokens(int n) {
  std::vector<int32_t> tokens;
  for (int i = 0; i < n; ++i) tokens.push_back((i * i * 31 + i * 7) % 4000);
  return tokens;
}

std::vector<double> softmax(std::span<const float> logits) {
  std::vector<double> p(logits.begin(), logits.end());
  double sum = 0;
  for (double& v : p) sum += v = std::exp(v);
  for (double& v : p) v /= sum;
  return p;
}

TEST(TextScoresTest, OneToken) {
  const std::vector<float> model = {1, 2, -1, 2.5f}, base = {0, 3, 1, -2};
  const TokenScore score = score_token(model, base, 1);
  const std::vector<double> q = softmax(model), p = softmax(base);
  double kl = 0;
  for (size_t i = 0; i < p.size(); ++i) kl += p[i] * std::log(p[i] / q[i]);
  EXPECT_NEAR(score.kl, kl, 1e-12);
  EXPECT_NEAR(score.log_probability, std::log(q[1]), 1e-12);
  EXPECT_NEAR(score.base_log_probability, std::log(p[1]), 1e-12);
  EXPECT_FALSE(score.same_top);
  EXPECT_EQ(score_token(base, base, 0).kl, 0);
  EXPECT_TRUE(score_token(base, base, 0).same_top);
  // Logits far from 0 neither overflow nor vanish.
  const std::vector<float> large = {1e4f, -1e4f, 0, 0};
  EXPECT_NEAR(score_token(large, {}, 1).log_probability, -2e4, 1e-6);
}

// Against the session's own logits, one prefix at a time.
TEST(TextScoresTest, WindowsScoreEveryTokenOnce) {
  const auto engine = tiny(0), base = tiny(1);
  const std::vector<int32_t> tokens = some_tokens(50);
  for (const auto& [window, stride] : {std::pair{64, 64}, {20, 20}, {20, 6}, {1, 1}, {49, 49}}) {
    SCOPED_TRACE(testing::Message() << window << " " << stride);
    double log_probability = 0, kl_sum = 0;
    std::vector<double> kl;
    for (int t = 1, begin = 0; t < 50; ++t) {
      if (t > begin + window) begin += stride;
      std::vector<double> p[2];
      for (int e = 0; e < 2; ++e) {
        Session session(e == 0 ? *engine : *base);
        session.sync(
            std::span(tokens).subspan(static_cast<size_t>(begin), static_cast<size_t>(t - begin)));
        p[e] = softmax(session.logits());
      }
      log_probability += std::log(p[0][static_cast<size_t>(tokens[static_cast<size_t>(t)])]);
      kl.push_back(0);
      for (size_t i = 0; i < p[0].size(); ++i) {
        if (p[1][i] > 0) kl.back() += p[1][i] * std::log(p[1][i] / p[0][i]);
      }
      kl_sum += kl.back();
    }
    TextOptions options;
    options.window = window;
    options.stride = stride;
    int64_t told = 0;
    options.progress = [&](int64_t done) { told = done; };
    const TextScores scores = score_text(*engine, base.get(), tokens, options);
    EXPECT_EQ(scores.tokens, 49);
    EXPECT_EQ(told, 49);
    EXPECT_NEAR(scores.perplexity / std::exp(-log_probability / 49), 1, 1e-6);
    ASSERT_TRUE(scores.divergence);
    std::sort(kl.begin(), kl.end());
    EXPECT_NEAR(scores.divergence->kl_mean, kl_sum / 49, 1e-6);
    EXPECT_NEAR(scores.divergence->kl_p99, kl[48], 1e-5);  // ceil(0.99 * 49) = 49
    EXPECT_NEAR(scores.divergence->kl_max, kl[48], 1e-5);
    EXPECT_GT(scores.divergence->kl_mean, 0.01);
    if (window == 64) {
      const TextScores alone = score_text(*engine, nullptr, tokens, options);
      EXPECT_FALSE(alone.divergence);
      EXPECT_EQ(alone.perplexity, scores.perplexity);
    }
  }
}

TEST(TextScoresTest, AModelIsItself) {
  const auto engine = tiny(0), same = tiny(0);
  const TextScores scores = score_text(*engine, same.get(), some_tokens(30), {.window = 10});
  EXPECT_EQ(scores.divergence->kl_max, 0);
  EXPECT_EQ(scores.divergence->top1, 1);
  EXPECT_EQ(scores.divergence->base_perplexity, scores.perplexity);
}

TEST(TextScoresTest, RefusesTooShortATextAndStops) {
  const auto engine = tiny(0);
  EXPECT_THROW(score_text(*engine, nullptr, some_tokens(1), {.window = 8}), Error);
  TextOptions options;
  options.window = 8;
  options.stop = [] { return true; };
  try {
    score_text(*engine, nullptr, some_tokens(9), options);
    ADD_FAILURE();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kCancelled);
  }
}

}  // namespace
}  // namespace flashmoe::eval
