#include "base/log.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <unistd.h>

#include <cstdlib>

namespace flashmoe {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

class LogTest : public testing::Test {
 protected:
  ~LogTest() override { set_log_level(LogLevel::kInfo); }
};

std::string logged_at(LogLevel level) {
  set_log_level(level);
  testing::internal::CaptureStderr();
  log_warn("w {}", 1);
  log_info("i {}", 2);
  log_debug("d {}", 3);
  return testing::internal::GetCapturedStderr();
}

TEST_F(LogTest, Levels) {
  EXPECT_EQ(logged_at(LogLevel::kQuiet), "");
  EXPECT_EQ(logged_at(LogLevel::kWarn), "warning: w 1\n");
  EXPECT_EQ(logged_at(LogLevel::kInfo), "warning: w 1\ni 2\n");
  EXPECT_EQ(logged_at(LogLevel::kDebug), "warning: w 1\ni 2\nd 3\n");
}

TEST_F(LogTest, ProgressText) {
  constexpr uint64_t kGiB = uint64_t{1} << 30;
  EXPECT_EQ(progress_text("loading", 0, 3 * kGiB, 0), "loading: 0 bytes of 3 GiB");
  EXPECT_EQ(progress_text("loading", kGiB, 3 * kGiB, 2),
            "loading: 1 GiB of 3 GiB, 512 MiB/s, 4 s left");
  EXPECT_EQ(progress_text("loading", kGiB, 61 * kGiB, 10),
            "loading: 1 GiB of 61 GiB, 102 MiB/s, 10 min left");
  EXPECT_EQ(progress_text("loading", kGiB, 1001 * kGiB, 36),
            "loading: 1 GiB of 1001 GiB, 28.4 MiB/s, 10.0 h left");
  EXPECT_EQ(progress_text("loading", 3 * kGiB, 3 * kGiB, 2), "loading: 3 GiB of 3 GiB, 1.5 GiB/s");
  EXPECT_EQ(progress_text("scoring", 1200, 6000, 4, "tokens"),
            "scoring: 1200 of 6000 tokens, 300/s, 16 s left");
}

std::string contents(std::FILE* file) {
  std::rewind(file);
  std::string text(10000, '\0');
  text.resize(std::fread(text.data(), 1, text.size(), file));
  return text;
}

TEST_F(LogTest, ProgressOffATerminalIsALineEveryTenSeconds) {
  std::FILE* out = std::tmpfile();
  const Progress::Clock::time_point start = Progress::Clock::now();
  {
    Progress progress("packing", 2500, out, start);
    for (int s = 0; s <= 25; ++s) {
      progress.update(100 * static_cast<uint64_t>(s), start + seconds(s));
    }
  }
  EXPECT_EQ(contents(out),
            "packing: 1000 bytes of 2.44 KiB, 100 bytes/s, 15 s left\n"
            "packing: 1.95 KiB of 2.44 KiB, 100 bytes/s, 5 s left\n");
  std::fclose(out);
}

TEST_F(LogTest, QuietProgressIsSilent) {
  set_log_level(LogLevel::kQuiet);
  std::FILE* out = std::tmpfile();
  const Progress::Clock::time_point start = Progress::Clock::now();
  {
    Progress progress("packing", 2500, out, start);
    progress.update(100, start + seconds(60));
  }
  EXPECT_EQ(contents(out), "");
  std::fclose(out);
}

// A pseudo-terminal: what is written to the terminal's side is read from the other.
TEST_F(LogTest, ProgressOnATerminalRewritesItsLine) {
  const int master = posix_openpt(O_RDWR | O_NOCTTY);
  if (master < 0 || grantpt(master) != 0 || unlockpt(master) != 0) {
    GTEST_SKIP() << "no pseudo-terminals here";
  }
  std::FILE* out = std::fopen(ptsname(master), "w");
  ASSERT_NE(out, nullptr);
  const Progress::Clock::time_point start = Progress::Clock::now();
  std::string during_log;
  {
    Progress progress("packing", 4096, out, start);
    progress.update(1, start + milliseconds(50));  // too early
    progress.update(1024, start + milliseconds(1000));
    progress.update(1025, start + milliseconds(1050));  // too soon after
    progress.update(2048, start + milliseconds(2000));
    testing::internal::CaptureStderr();
    log_info("hello");
    during_log = testing::internal::GetCapturedStderr();
    progress.update(3072, start + milliseconds(3000));
  }
  EXPECT_EQ(during_log, "\r\x1b[Khello\n");
  const std::string expected =
      "\r\x1b[Kpacking: 1 KiB of 4 KiB, 1 KiB/s, 3 s left"
      "\r\x1b[Kpacking: 2 KiB of 4 KiB, 1 KiB/s, 2 s left"
      "\r\x1b[Kpacking: 3 KiB of 4 KiB, 1 KiB/s, 1 s left\r\x1b[K";
  std::string seen;
  pollfd readable{master, POLLIN, 0};
  while (seen.size() < expected.size() && poll(&readable, 1, 5000) == 1) {
    char part[256];
    const ssize_t n = read(master, part, sizeof part);
    ASSERT_GT(n, 0);
    seen.append(part, static_cast<size_t>(n));
  }
  EXPECT_EQ(seen, expected);
  std::fclose(out);
  close(master);
}

}  // namespace
}  // namespace flashmoe
