#include "io/make_read_queue.h"

#include <gtest/gtest.h>
#include <sys/resource.h>

#include <cstdlib>

#include "base/error.h"
#include "io/uring_queue.h"

namespace flashmoe::io {
namespace {

TEST(MakeReadQueueTest, Kinds) {
  EXPECT_STREQ(make_read_queue(QueueKind::kPread)->name(), "pread");
  std::string why;
  if (open_uring_queue(4, &why) != nullptr) {
    EXPECT_EQ(why, "");
    EXPECT_STREQ(make_read_queue(QueueKind::kAuto)->name(), "uring");
    EXPECT_STREQ(make_read_queue(QueueKind::kUring)->name(), "uring");
  } else {
    EXPECT_NE(why, "");
    EXPECT_STREQ(make_read_queue(QueueKind::kAuto)->name(), "pread");
    EXPECT_THROW(make_read_queue(QueueKind::kUring), Error);
  }
}

// With no descriptors left, io_uring cannot be had, but threads can.
void without_descriptors() {
  const rlimit none{0, 0};
  setrlimit(RLIMIT_NOFILE, &none);
  if (std::string(make_read_queue(QueueKind::kAuto)->name()) != "pread") std::_Exit(3);
  try {
    make_read_queue(QueueKind::kUring);
  } catch (const Error& e) {
    std::_Exit(e.code() == ErrorCode::kUnsupported ? 0 : 4);
  }
  std::_Exit(5);
}

TEST(MakeReadQueueDeathTest, FallsBackWhereUringIsRefused) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_EXIT(without_descriptors(), testing::ExitedWithCode(0), "");
}

}  // namespace
}  // namespace flashmoe::io
