#include "engine/rate_window.h"

#include <gtest/gtest.h>

namespace flashmoe::engine {
namespace {

TEST(RateWindowTest, AnEvenRateIsSeenAsItIs) {
  RateWindow window;
  for (int i = 0; i < 1000; ++i) window.add(i * 0.05, (i + 1) * 0.05, 2);
  EXPECT_NEAR(window.per_second(50), 40, 1e-6);
}

TEST(RateWindowTest, AtTheBeginningItCoversWhatHasPassed) {
  RateWindow window;
  window.add(0, 0.5, 10);
  window.add(0.5, 2, 30);
  EXPECT_NEAR(window.per_second(2), 20, 1e-6);
}

TEST(RateWindowTest, WhatWasLongAgoIsForgotten) {
  RateWindow window;
  window.add(3, 4, 100);
  EXPECT_GT(window.per_second(8), 0);
  EXPECT_EQ(window.per_second(20), 0);
  window.add(30, 31, 5);
  EXPECT_NEAR(window.per_second(31), 5 / 9.0, 0.1);
}

TEST(RateWindowTest, AStepLongerThanTheWindowCountsByItsEnd) {
  RateWindow window;
  window.add(0, 100, 1000);
  EXPECT_NEAR(window.per_second(100), 10, 1.2);
}

}  // namespace
}  // namespace flashmoe::engine
