// Predictions against cases worked out by hand.
#include "engine/predict.h"

#include <gtest/gtest.h>

#include "engine/io_choice.h"

namespace flashmoe::engine {
namespace {

// 10 layers of 100 experts, 4 of them picked: a token takes 40 experts of 1 MB.
Workload work() {
  Workload w;
  w.dense_bytes = 60'000'000;
  w.expert_bytes = 1'000'000;
  w.layers = 10;
  w.experts = 100;
  w.k = 4;
  w.kv_token_bytes = 1000;
  w.recurrent_bytes = 500'000;
  w.dense_macs = 100'000'000;
  w.head_macs = 20'000'000;
  w.expert_macs = 2'000'000;
  return w;
}

TEST(PredictTest, CountsWhatATokenTakes) {
  EXPECT_EQ(work().picks(), 40);
  EXPECT_EQ(work().token_bytes(), 100'000'000u);
  EXPECT_EQ(work().macs(), 200'000'000);
  EXPECT_EQ(work().state_bytes(9000), 10'000'000u);
}

TEST(PredictTest, GenerationIsBoundByTheSlowest) {
  // 110 MB of memory at 11 GB/s: 10 ms. Half of 40 MB from disk at 4 GB/s: 5 ms.
  Prediction p = predict_decode(work(), 0.5, 9000, {11e9, 1e12, 4e9});
  EXPECT_DOUBLE_EQ(p.tok_s, 100);
  EXPECT_EQ(p.bound, Bound::kMemory);
  EXPECT_DOUBLE_EQ(p.memory_bytes, 100e6);
  EXPECT_DOUBLE_EQ(p.state_bytes, 10e6);
  EXPECT_DOUBLE_EQ(p.disk_bytes, 20e6);
  // At 1 GB/s 20 ms.
  p = predict_decode(work(), 0.5, 9000, {11e9, 1e12, 1e9});
  EXPECT_DOUBLE_EQ(p.tok_s, 50);
  EXPECT_EQ(p.bound, Bound::kDisk);
  // 400 M operations at 10 G/s: 40 ms.
  p = predict_decode(work(), 0.5, 9000, {11e9, 10e9, 1e9});
  EXPECT_DOUBLE_EQ(p.tok_s, 25);
  EXPECT_EQ(p.bound, Bound::kArithmetic);
  // All resident: the disk does not count; nor does what is not known.
  p = predict_decode(work(), 1, 9000, {11e9, 0, 1});
  EXPECT_DOUBLE_EQ(p.tok_s, 100);
  EXPECT_EQ(p.disk_bytes, 0);
  EXPECT_EQ(predict_decode(work(), 1, 0, {}).tok_s, 0);
}

TEST(PredictTest, ExpertsOfManyRowsApproachAll) {
  EXPECT_DOUBLE_EQ(expected_experts(100, 4, 1), 4);
  EXPECT_NEAR(expected_experts(100, 4, 2), 4 + 0.96 * 4, 1e-9);
  EXPECT_NEAR(expected_experts(100, 4, 1000), 100, 1e-9);
  EXPECT_EQ(expected_experts(100, 4, 0), 0);
  EXPECT_EQ(expected_experts(0, 0, 10), 0);
}

TEST(PredictTest, PromptsReadEachExpertOncePerChunk) {
  // Two chunks of 1000 rows touch all 1000 experts each: 1 GB, of which 3/4 come from disk.
  const Prediction p = predict_prompt(work(), 0.25, 2000, 1000, {1e12, 1e15, 1e9});
  EXPECT_EQ(p.bound, Bound::kDisk);
  EXPECT_NEAR(p.disk_bytes * 2000, 1.5e9, 1);
  EXPECT_NEAR(p.memory_bytes * 2000, 2.12e9, 1);
  EXPECT_NEAR(p.tok_s, 2000 / 1.5, 1e-3);
  // One chunk reads half as much.
  EXPECT_NEAR(predict_prompt(work(), 0.25, 2000, 2000, {1e12, 1e15, 1e9}).disk_bytes,
              p.disk_bytes / 2, 1e-3);
}

TEST(PredictTest, PromptsRunTheHeadOnce) {
  // 180 M multiply-adds for each of 100 rows, 20 M for the head.
  const Prediction p = predict_prompt(work(), 1, 100, 1000, {1e15, 1e9, 1});
  EXPECT_EQ(p.bound, Bound::kArithmetic);
  EXPECT_NEAR(p.tok_s, 100 / (2 * (100 * 0.18 + 0.02)), 1e-9);
}

TEST(ExpectedHitRateTest, WithoutPatternIsTheShare) {
  for (double share : {0.0, 0.1, 0.5, 1.0}) {
    EXPECT_EQ(expected_hit_rate(share, 512, 10, true), share);
  }
  EXPECT_EQ(expected_hit_rate(2, 512, 10, true), 1);
  EXPECT_EQ(expected_hit_rate(-1, 512, 10, true), 0);
}

TEST(ExpectedHitRateTest, WithPatternGrowsWithTheShareAndBeatsIt) {
  for (auto [experts, k] : {std::pair{512, 10}, {512, 4}, {256, 8}, {128, 8}, {60, 4}, {8, 2}}) {
    double last = -1;
    for (int i = 0; i <= 100; ++i) {
      const double share = i / 100.0, rate = expected_hit_rate(share, experts, k, false);
      EXPECT_GT(rate, last) << experts << "/" << k << " at " << share;
      if (i > 5 && i < 100) {
        EXPECT_GT(rate, share) << experts << "/" << k;
      }
      last = rate;
    }
    EXPECT_EQ(expected_hit_rate(0, experts, k, false), 0);
    EXPECT_EQ(expected_hit_rate(1, experts, k, false), 1);
  }
}

TEST(ExpectedHitRateTest, MeetsTheTable) {
  EXPECT_NEAR(expected_hit_rate(0.125, 512, 10, false), 0.668, 1e-9);
  EXPECT_NEAR(expected_hit_rate(0.25, 256, 8, false), 0.785, 1e-9);
  EXPECT_NEAR(expected_hit_rate(0.375, 192, 8, false), (0.848 + 0.856) / 2, 1e-9);
}

TEST(IoChoiceTest, SmallModelsSuitThePageCache) {
  EXPECT_TRUE(suits_page_cache(4, 8));
  EXPECT_FALSE(suits_page_cache(5, 8));
}

TEST(IoChoiceTest, TakesTheFastestWithAPreference) {
  EXPECT_EQ(fastest_io({2e9, 2e9, 2e9}), IoMode::kUring);
  EXPECT_EQ(fastest_io({2e9, 2.09e9, 2.19e9}), IoMode::kUring);
  EXPECT_EQ(fastest_io({2e9, 2.2e9, 1e9}), IoMode::kPread);
  EXPECT_EQ(fastest_io({2e9, 2e9, 2.3e9}), IoMode::kBuffered);
  EXPECT_EQ(fastest_io({0, 1e9, 1e9}), IoMode::kPread);
  EXPECT_EQ(fastest_io({0, 0, 1e9}), IoMode::kBuffered);
  EXPECT_EQ(fastest_io({0, 0, 0}), IoMode::kBuffered);
  EXPECT_EQ(describe_rates({2.1e9, 0, 1e9}), "uring 2.10 GB/s, no pread, buffered 1.00 GB/s");
}

}  // namespace
}  // namespace flashmoe::engine
