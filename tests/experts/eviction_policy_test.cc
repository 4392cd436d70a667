#include "experts/eviction_policy.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <random>
#include <vector>

namespace flashmoe::experts {
namespace {

// The ages of a step's one token.
constexpr int32_t kOne[] = {0};

TEST(EvictionPolicyTest, GivesUpTheLeastVisited) {
  EvictionPolicy policy(1, 4);
  for (ExpertKey key : {0, 1, 2}) policy.add(key);
  for (ExpertKey key : {0, 1, 1, 2, 2, 2}) {
    policy.advance();
    policy.visit(key, kOne);
  }
  EXPECT_EQ(policy.victim(), 0);
  policy.remove(0);
  EXPECT_EQ(policy.victim(), 1);
  policy.remove(1);
  policy.remove(2);
  EXPECT_EQ(policy.victim(), -1);
}

TEST(EvictionPolicyTest, CountsSurviveEviction) {
  EvictionPolicy policy(1, 2);
  for (int i = 0; i < 4; ++i) {
    policy.advance();
    policy.visit(0, kOne);  // not resident, and yet counted
  }
  policy.advance();
  policy.visit(1, kOne);
  policy.add(0);
  policy.add(1);
  EXPECT_EQ(policy.victim(), 1);
}

TEST(EvictionPolicyTest, OldVisitsFade) {
  EvictionPolicy policy(1, 2);
  for (int i = 0; i < 3; ++i) policy.visit(0, kOne);
  for (int i = 0; i < 40; ++i) policy.advance();  // five half-lives
  policy.visit(1, kOne);
  policy.add(0);
  policy.add(1);
  EXPECT_EQ(policy.victim(), 0);
}

TEST(EvictionPolicyTest, ALayerWithItsShareGivesUpItsOwn) {
  EvictionPolicy policy(3, 2);
  for (ExpertKey key = 0; key < 6; ++key) {  // the later, the more used
    for (int i = 0; i <= key; ++i) policy.visit(key, kOne);
    if (key != 5) policy.add(key);
  }
  EXPECT_EQ(policy.victim(), 0);
  EXPECT_EQ(policy.victim_for(1, std::vector<uint64_t>{2, 2, 1}, 2), 2);
  EXPECT_EQ(policy.victim_for(2, std::vector<uint64_t>{2, 3, 1}, 2), 2) << "of the one with most";
  EXPECT_EQ(policy.victim_for(2, std::vector<uint64_t>{2, 3, 2}, 2), 4);
  policy.remove(4);
  EXPECT_EQ(policy.victim_for(2, std::vector<uint64_t>{2, 1, 4}, 2), 0) << "it has none to give";
  for (ExpertKey key : {0, 1, 2, 3}) policy.remove(key);
  EXPECT_EQ(policy.victim_for(0, std::vector<uint64_t>{2, 2, 2}, 2), -1);
}

// Against the definition: counts that halve every kHalfLife tokens.
TEST(EvictionPolicyTest, OrdersAsDecayedCounts) {
  constexpr int kKeys = 20;
  EvictionPolicy policy(1, kKeys);
  std::vector<double> counts(kKeys, 0);
  for (ExpertKey key = 0; key < kKeys; ++key) policy.add(key);
  std::mt19937 random(3);
  for (int step = 0; step < 2000; ++step) {
    policy.advance();
    for (double& c : counts) c *= std::exp2(-1 / EvictionPolicy::kHalfLife);
    for (int i = 0; i < 3; ++i) {
      const ExpertKey key = static_cast<ExpertKey>(random() % kKeys);
      policy.visit(key, kOne);
      counts[key] += 1;
    }
    const ExpertKey victim = policy.victim();
    for (double c : counts) EXPECT_LE(counts[victim], c * (1 + 1e-9));
  }
}

// Tokens count the same however they come in steps.
TEST(EvictionPolicyTest, AChunkCountsAsItsTokensOneByOne) {
  constexpr int kKeys = 12, kTokens = 90;
  std::mt19937 random(4);
  std::vector<std::vector<ExpertKey>> used(kTokens);
  for (std::vector<ExpertKey>& keys : used) {
    for (int i = 0; i < 3; ++i) keys.push_back(static_cast<ExpertKey>(random() % kKeys));
  }
  EvictionPolicy single(1, kKeys), chunked(1, kKeys);
  for (const std::vector<ExpertKey>& keys : used) {
    single.advance();
    for (const ExpertKey key : keys) single.visit(key, kOne);
  }
  for (int begin = 0; begin < kTokens;) {
    const int rows = std::min(kTokens - begin, 1 + static_cast<int>(random() % 20));
    chunked.advance(rows);
    for (ExpertKey key = 0; key < kKeys; ++key) {
      std::vector<int32_t> ages;
      for (int row = 0; row < rows; ++row) {
        for (const ExpertKey k : used[static_cast<size_t>(begin + row)]) {
          if (k == key) ages.push_back(rows - 1 - row);
        }
      }
      if (!ages.empty()) chunked.visit(key, ages);
    }
    begin += rows;
  }
  for (EvictionPolicy* policy : {&single, &chunked}) {
    for (ExpertKey key = 0; key < kKeys; ++key) policy->add(key);
  }
  for (int i = 0; i < kKeys; ++i) {
    ASSERT_EQ(single.victim(), chunked.victim());
    const ExpertKey victim = single.victim();
    single.remove(victim);
    chunked.remove(victim);
  }
}

}  // namespace
}  // namespace flashmoe::experts
