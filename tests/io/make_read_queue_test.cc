#include "io/make_read_queue.h"

#include <gtest/gtest.h>

#include <cerrno>
#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <iterator>
#include <string>

#ifdef __linux__
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#endif

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

#ifdef __linux__
// Forbids io_uring to this process, as the filters of containers do.
void forbid_uring() {
  sock_filter filter[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_io_uring_setup, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  };
  const sock_fprog program{static_cast<unsigned short>(std::size(filter)), filter};
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) std::_Exit(7);
  if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) != 0) std::_Exit(8);
}

[[noreturn]] void ask_without_uring() {
  forbid_uring();
  if (std::string(make_read_queue(QueueKind::kAuto)->name()) != "pread") std::_Exit(3);
  try {
    make_read_queue(QueueKind::kUring);
  } catch (const Error& e) {
    std::fprintf(stderr, "%s\n", e.what());
    std::_Exit(e.code() == ErrorCode::kUnsupported ? 0 : 4);
  }
  std::_Exit(5);
}

TEST(MakeReadQueueDeathTest, FallsBackWhereUringIsRefused) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_EXIT(ask_without_uring(), testing::ExitedWithCode(0), "io_uring is forbidden here");
}
#endif

}  // namespace
}  // namespace flashmoe::io
