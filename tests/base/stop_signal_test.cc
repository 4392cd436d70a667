#include "base/stop_signal.h"

#include <gtest/gtest.h>

#include <csignal>
#include <cstdlib>

namespace flashmoe {
namespace {

// Each in a process of its own: signal handlers last.
class StopSignalDeathTest : public testing::TestWithParam<int> {
 protected:
  void SetUp() override { GTEST_FLAG_SET(death_test_style, "threadsafe"); }
};

TEST_P(StopSignalDeathTest, FirstAsks) {
  EXPECT_EXIT(
      {
        install_stop_signal();
        const bool before = stop_requested();
        std::raise(GetParam());
        std::_Exit(!before && stop_requested() ? 7 : 8);
      },
      testing::ExitedWithCode(7), "");
}

TEST_P(StopSignalDeathTest, SecondKills) {
  EXPECT_EXIT(
      {
        install_stop_signal();
        std::raise(SIGINT);
        std::raise(GetParam());
        std::_Exit(8);
      },
      testing::KilledBySignal(GetParam()), "");
}

TEST_P(StopSignalDeathTest, IgnoredStaysIgnored) {
  EXPECT_EXIT(
      {
        std::signal(GetParam(), SIG_IGN);
        install_stop_signal();
        std::raise(GetParam());
        std::raise(GetParam());
        std::_Exit(stop_requested() ? 8 : 7);
      },
      testing::ExitedWithCode(7), "");
}

INSTANTIATE_TEST_SUITE_P(Signals, StopSignalDeathTest, testing::Values(SIGINT, SIGTERM));

}  // namespace
}  // namespace flashmoe
