#include "experts/eviction_policy.h"

#include <gtest/gtest.h>

#include <cmath>
#include <random>

namespace flashmoe::experts {
namespace {

TEST(EvictionPolicyTest, GivesUpTheLeastVisited) {
  EvictionPolicy policy(4);
  for (ExpertKey key : {0, 1, 2}) policy.add(key);
  for (ExpertKey key : {0, 1, 1, 2, 2, 2}) {
    policy.advance();
    policy.visit(key);
  }
  EXPECT_EQ(policy.victim(), 0);
  policy.remove(0);
  EXPECT_EQ(policy.victim(), 1);
  policy.remove(1);
  policy.remove(2);
  EXPECT_EQ(policy.victim(), -1);
}

TEST(EvictionPolicyTest, CountsSurviveEviction) {
  EvictionPolicy policy(2);
  for (int i = 0; i < 4; ++i) {
    policy.advance();
    policy.visit(0);  // not resident, and yet counted
  }
  policy.advance();
  policy.visit(1);
  policy.add(0);
  policy.add(1);
  EXPECT_EQ(policy.victim(), 1);
}

TEST(EvictionPolicyTest, OldVisitsFade) {
  EvictionPolicy policy(2);
  for (int i = 0; i < 3; ++i) policy.visit(0);
  for (int i = 0; i < 40; ++i) policy.advance();  // five half-lives
  policy.visit(1);
  policy.add(0);
  policy.add(1);
  EXPECT_EQ(policy.victim(), 0);
}

TEST(EvictionPolicyTest, OfEqualsTheLastUsedGoesFirst) {
  EvictionPolicy policy(3);
  for (ExpertKey key : {1, 0, 2}) {
    policy.visit(key);
    policy.add(key);
  }
  EXPECT_EQ(policy.victim(), 2);
  policy.remove(1);  // in use
  policy.add(1);
  EXPECT_EQ(policy.victim(), 1);
}

TEST(EvictionPolicyTest, LateVisitsCountWhenTheStepIsOver) {
  EvictionPolicy policy(2);
  policy.advance();
  policy.visit(1);
  policy.add(1);
  policy.add(0);
  policy.visit_late(0);
  policy.visit_late(0);
  EXPECT_EQ(policy.victim(), 0);
  policy.advance();
  EXPECT_EQ(policy.victim(), 1);
}

// Against the definition: counts that halve every kHalfLife steps.
TEST(EvictionPolicyTest, OrdersAsDecayedCounts) {
  constexpr int kKeys = 20;
  EvictionPolicy policy(kKeys);
  std::vector<double> counts(kKeys, 0);
  for (ExpertKey key = 0; key < kKeys; ++key) policy.add(key);
  std::mt19937 random(3);
  for (int step = 0; step < 2000; ++step) {
    policy.advance();
    for (double& c : counts) c *= std::exp2(-1 / EvictionPolicy::kHalfLife);
    for (int i = 0; i < 3; ++i) {
      const ExpertKey key = static_cast<ExpertKey>(random() % kKeys);
      policy.visit(key);
      counts[key] += 1;
    }
    const ExpertKey victim = policy.victim();
    for (double c : counts) EXPECT_LE(counts[victim], c * (1 + 1e-9));
  }
}

}  // namespace
}  // namespace flashmoe::experts
