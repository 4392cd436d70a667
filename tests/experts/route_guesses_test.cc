#include "experts/route_guesses.h"

#include <gtest/gtest.h>

namespace flashmoe::experts {
namespace {

// Guesses one expert at the rank so many times, of which so many per cent are right.
void guess(RouteGuesses* guesses, int rank, int times, int right_percent) {
  for (int i = 0; i < times; ++i) {
    guesses->add(i, rank);
    guesses->judge([&](ExpertKey key) { return key % 100 < right_percent; });
  }
}

TEST(RouteGuessesTest, EveryRankGetsATrialAndIsJudgedByItself) {
  RouteGuesses guesses;
  EXPECT_TRUE(guesses.any_pays());
  for (int rank = 0; rank < RouteGuesses::kRanks; ++rank) EXPECT_TRUE(guesses.pays(rank)) << rank;
  guess(&guesses, 0, 100, 80);
  guess(&guesses, 1, 100, 40);
  EXPECT_TRUE(guesses.pays(0));
  EXPECT_FALSE(guesses.pays(1));
  EXPECT_TRUE(guesses.pays(2));
}

TEST(RouteGuessesTest, StopsWhenNoRankPays) {
  RouteGuesses guesses;
  for (int rank = 0; rank < RouteGuesses::kRanks; ++rank) {
    EXPECT_TRUE(guesses.any_pays());
    guess(&guesses, rank, 100, 0);
  }
  EXPECT_FALSE(guesses.any_pays());
}

TEST(RouteGuessesTest, ForgetsWhatIsLongPast) {
  RouteGuesses guesses;
  guess(&guesses, 0, 2000, 100);
  guess(&guesses, 0, 600, 0);
  EXPECT_FALSE(guesses.pays(0));
  guess(&guesses, 0, 2000, 100);
  EXPECT_TRUE(guesses.pays(0));
}

TEST(RouteGuessesTest, HoldsWhatWasGuessedForTheLayerAtHand) {
  RouteGuesses guesses;
  guesses.add(7, 0);
  EXPECT_TRUE(guesses.has(7));
  EXPECT_FALSE(guesses.has(8));
  for (int i = 8; !guesses.full(); ++i) guesses.add(i, 1);
  guesses.judge([](ExpertKey) { return true; });
  EXPECT_FALSE(guesses.has(7));
  EXPECT_FALSE(guesses.full());
}

TEST(RouteGuessesTest, WhatIsForgottenIsNotJudged) {
  RouteGuesses guesses;
  for (int i = 0; i < 100; ++i) {
    guesses.add(i, 0);
    guesses.forget();
    guesses.judge([](ExpertKey) { return false; });
  }
  EXPECT_TRUE(guesses.pays(0));
}

}  // namespace
}  // namespace flashmoe::experts
