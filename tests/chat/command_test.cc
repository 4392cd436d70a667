#include "chat/command.h"

#include <gtest/gtest.h>

#include <string>

#include "base/error.h"

namespace flashmoe::chat {
namespace {

CommandResult shell(const std::string& line, const CommandLimits& limits = {},
                    const std::function<bool()>& stop = {}) {
  return run_command({"/bin/sh", "-c", line}, "", limits, stop);
}

TEST(CommandTest, GivesOutputAndExitCode) {
  const CommandResult result = shell("echo one; echo two >&2; exit 3");
  EXPECT_EQ(result.output, "one\ntwo\n");
  EXPECT_EQ(result.exit_code, 3);
  EXPECT_EQ(result.text({}), "one\ntwo\n[exit code 3]");
  EXPECT_EQ(shell("true").text({}), "[no output]");
  EXPECT_EQ(shell("printf x").text({}), "x");
}

TEST(CommandTest, GetsItsInput) {
  const std::string input(300'000, 'x');  // more than a pipe holds
  CommandLimits limits;
  limits.output_bytes = 1 << 20;
  EXPECT_EQ(run_command({"cat"}, input, limits, {}).output, input);
  EXPECT_EQ(run_command({"cat"}, "", limits, {}).output, "");
  EXPECT_EQ(run_command({"true"}, input, limits, {}).exit_code, 0);  // reads nothing of it
}

TEST(CommandTest, NoShellReadsTheWords) {
  EXPECT_EQ(run_command({"printf", "%s|", "a b", "$HOME;`x`"}, "", {}, {}).output,
            "a b|$HOME;`x`|");
}

TEST(CommandTest, EndsAtItsTimeLimitWithAllItsChildren) {
  CommandLimits limits;
  limits.timeout_s = 0.1;
  const CommandResult result = shell("echo begun; sleep 100 & sleep 100", limits);
  EXPECT_TRUE(result.timed_out);
  EXPECT_EQ(result.text(limits), "begun\n[ended after 0.1 seconds]");
}

TEST(CommandTest, EndsWhenStopped) {
  const CommandResult result = shell("sleep 100", {}, [] { return true; });
  EXPECT_TRUE(result.stopped);
  EXPECT_EQ(result.text({}), "[the user stopped it]");
}

TEST(CommandTest, DropsWhatIsBeyondTheOutputLimit) {
  CommandLimits limits;
  limits.output_bytes = 10;
  const CommandResult result = shell("yes | head -c 100000", limits);
  EXPECT_TRUE(result.cut);
  EXPECT_EQ(result.text(limits), "y\ny\ny\ny\ny\n[only the first 10 bytes are shown]");
}

TEST(CommandTest, DoesNotWaitForWhatRunsOn) {
  CommandLimits limits;
  limits.timeout_s = 50;
  const CommandResult result = shell("sleep 3 & echo done", limits);
  EXPECT_EQ(result.output, "done\n");
  EXPECT_FALSE(result.timed_out);
}

TEST(CommandTest, SaysWhatCannotBeStarted) {
  EXPECT_THROW(run_command({"/no/such/program"}, "", {}, {}), Error);
}

}  // namespace
}  // namespace flashmoe::chat
