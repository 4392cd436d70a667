#include "server/workers.h"

#include <gtest/gtest.h>

#include <atomic>
#include <future>

namespace flashmoe::server {
namespace {

// A worker that is held up, so that what is posted waits.
class WorkersTest : public testing::Test {
 protected:
  WorkersTest() {
    workers_.post(0, [this] {
      begun_.set_value();
      go_on_.get_future().wait();
    });
    begun_.get_future().wait();
  }

  bool post(size_t bytes) {
    return workers_.post(bytes, [this] {
      if (++done_ == expected_) all_done_.set_value();
    });
  }
  void finish(int expected) {
    expected_ = expected;
    go_on_.set_value();
    all_done_.get_future().wait();
  }

  std::promise<void> begun_, go_on_, all_done_;
  int expected_ = 0;
  std::atomic<int> done_{0};
  Workers workers_{1, 100};  // ends before what its tasks use
};

TEST_F(WorkersTest, ManySmallTasksMayWait) {
  for (int i = 0; i < 1000; ++i) EXPECT_TRUE(post(0));
  finish(1000);
  EXPECT_EQ(done_, 1000);
}

TEST_F(WorkersTest, WaitingBytesAreBounded) {
  EXPECT_TRUE(post(60));
  EXPECT_TRUE(post(40));
  EXPECT_FALSE(post(1));
  EXPECT_TRUE(post(0));
  finish(3);
}

TEST_F(WorkersTest, AnyTaskMayWaitAlone) {
  EXPECT_TRUE(post(1000));
  EXPECT_FALSE(post(1));
  finish(1);
}

}  // namespace
}  // namespace flashmoe::server
