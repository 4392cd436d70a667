// Ctrl-C and a reader that goes away.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <filesystem>
#include <thread>

#include "tests/base/temp_folder.h"
#include "tests/cli/flashmoe.h"

namespace flashmoe::cli {
namespace {

using Clock = std::chrono::steady_clock;

class StopTest : public TinyModelTest {
 protected:
  // An answer of thousands of random tokens, many of them parts of a character.
  Command long_answer(std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(),
                     {"run", tiny_, "--raw", "Once upon a time", "--temp", "1000", "--top-k", "0",
                      "--top-p", "1", "--min-p", "0", "--seed", "1", "--backend", "ref"});
    return command(arguments);
  }
};

TEST_F(StopTest, CtrlCEndsAnAnswerCleanly) {
  for (const int signal : {SIGINT, SIGTERM}) {
    ChildProcess child(long_answer({"--timing"}));
    ASSERT_TRUE(child.wait_for_output(100)) << child.wait();
    const Clock::time_point asked = Clock::now();
    child.send(signal);
    const Outcome outcome = child.wait();
    EXPECT_LT(Clock::now() - asked, std::chrono::seconds(2));
    EXPECT_EQ(outcome.exit_code, 0) << outcome;
    EXPECT_TRUE(is_utf8(outcome.out)) << outcome;
    EXPECT_TRUE(outcome.out.ends_with('\n'));
    for (const char* part : {"first token", "cancelled", "expert_compute", "tok/s"}) {
      EXPECT_NE(outcome.err.find(part), std::string::npos) << part << " in " << outcome;
    }
  }
}

// What was stopped before there was anything to show.
void expect_stopped(const Outcome& outcome) {
  EXPECT_EQ(outcome.exit_code, 130) << outcome;
  EXPECT_TRUE(outcome.err.ends_with("flashmoe: stopped\n")) << outcome;
}

TEST_F(StopTest, CtrlCDuringALongPromptEndsIt) {
  std::string prompt;
  for (int i = 0; i < 1500; ++i) prompt += "word ";
  ChildProcess child(command({"run", "-v", tiny_, "--raw", "--backend", "ref", "--json", "--chunk",
                              "4096", "--threads", "1", "-n", "4000", "-p", prompt}));
  ASSERT_TRUE(child.wait_for_error("loaded in")) << child.wait();
  const Clock::time_point asked = Clock::now();
  child.send(SIGINT);
  const Outcome outcome = child.wait();
  EXPECT_LT(Clock::now() - asked, std::chrono::seconds(5));
  expect_stopped(outcome);
  EXPECT_EQ(nlohmann::json::parse(outcome.out, nullptr, false)["finish_reason"], "cancelled")
      << outcome;
}

TEST_F(StopTest, JsonOfAStoppedAnswerIsWhole) {
  ChildProcess child(long_answer({"--json", "-v"}));
  ASSERT_TRUE(child.wait_for_error("the answer begins")) << child.wait();
  child.send(SIGINT);
  const Outcome outcome = child.wait();
  EXPECT_EQ(outcome.exit_code, 0) << outcome;
  const nlohmann::json json = nlohmann::json::parse(outcome.out, nullptr, false);
  ASSERT_FALSE(json.is_discarded()) << outcome;
  EXPECT_EQ(json["finish_reason"], "cancelled");
  EXPECT_EQ(json["tokens"].size(), json["generated_tokens"]);
}

// The system message comes from a pipe, so that the signal arrives just before the loading.
TEST_F(StopTest, CtrlCEndsTheLoading) {
  const TempFolder temp;
  const std::string pipe = temp.file("system");
  ASSERT_EQ(mkfifo(pipe.c_str(), 0600), 0);
  ChildProcess child(command({"run", "-v", tiny_, "hi", "--json", "--system", "@" + pipe}));
  int writer = -1;
  const Clock::time_point deadline = Clock::now() + std::chrono::seconds(20);
  while (writer < 0 && Clock::now() < deadline) {  // no reader yet: ENXIO
    writer = open(pipe.c_str(), O_WRONLY | O_NONBLOCK | O_CLOEXEC);
  }
  ASSERT_GE(writer, 0) << child.wait();
  child.send(SIGINT);
  EXPECT_EQ(write(writer, "Be brief.", 9), 9);
  close(writer);
  const Outcome outcome = child.wait();
  expect_stopped(outcome);
  EXPECT_EQ(outcome.out, "");
  EXPECT_EQ(outcome.err.find("loaded in"), std::string::npos) << outcome;
}

TEST_F(StopTest, StoppedLogitsLeaveNothing) {
  const TempFolder temp;
  std::string ids;
  for (int i = 0; i < 2000; ++i) ids += "17\n";
  const std::string file = temp.write("ids.txt", ids);
  ChildProcess child(command({"logits", "-v", tiny_, "--ids", file, "--out", temp.file("out.npy"),
                              "--backend", "ref", "--threads", "1"}));
  ASSERT_TRUE(child.wait_for_error("loaded in")) << child.wait();
  child.send(SIGINT);
  expect_stopped(child.wait());
  EXPECT_EQ(entries(temp.path()), 1u);
}

TEST(StopSynthTest, AStoppedModelLeavesNothing) {
  const TempFolder temp;
  ChildProcess child(
      command({"synth", "qwen3.5-35b-a3b", temp.file("out"), "--layers", "1", "--bits", "2"}));
  const Clock::time_point deadline = Clock::now() + std::chrono::seconds(20);
  while (entries(temp.path()) == 0 && Clock::now() < deadline) std::this_thread::yield();
  child.send(SIGTERM);
  expect_stopped(child.wait());
  EXPECT_EQ(entries(temp.path()), 0u);
}

TEST_F(StopTest, AReaderThatGoesAwayEndsItQuietly) {
  ChildProcess child(long_answer({}));
  ASSERT_TRUE(child.wait_for_output(100)) << child.wait();
  const Clock::time_point closed = Clock::now();
  child.close_output();
  const Outcome outcome = child.wait();
  EXPECT_LT(Clock::now() - closed, std::chrono::seconds(2));
  EXPECT_FALSE(outcome.timed_out);
  EXPECT_TRUE(outcome.signal == SIGPIPE || outcome.exit_code == 128 + SIGPIPE) << outcome;
  EXPECT_EQ(outcome.err, "");
}

// What a closed pipe does to a program, and nothing left behind.
void expect_ended_by_pipe(const Outcome& outcome) {
  EXPECT_FALSE(outcome.timed_out);
  EXPECT_TRUE(outcome.signal == SIGPIPE || outcome.exit_code == 128 + SIGPIPE) << outcome;
}

TEST_F(StopTest, AReaderThatGoesAwayLeavesNothingHalfWritten) {
  const TempFolder temp;
  const std::string ids = temp.write("ids.txt", "17\n");
  const std::vector<std::vector<std::string>> commands = {
      {"synth", "qwen3.5-35b-a3b", temp.file("out"), "--layers", "1", "--bits", "2"},
      {"quantize", tiny_, temp.file("out"), "--bits", "2", "--threads", "1"},
  };
  for (const std::vector<std::string>& arguments : commands) {
    ChildProcess child(command(arguments));
    const Clock::time_point deadline = Clock::now() + std::chrono::seconds(20);
    while (entries(temp.path()) == 1 && Clock::now() < deadline) std::this_thread::yield();
    child.send(SIGPIPE);  // as a line of progress into a closed pipe
    expect_ended_by_pipe(child.wait());
    EXPECT_EQ(entries(temp.path()), 1u) << arguments[0];
  }
}

// What pack has to say comes when the store has its name.
TEST_F(StopTest, AStoreOfWhichNobodyHearsIsWhole) {
  const TempFolder temp;
  const std::string store = temp.file("store");
  for (const bool json : {false, true}) {
    std::vector<std::string> arguments = {"pack", tiny_, store};
    if (json) arguments.push_back("--json");
    ChildProcess child(command(arguments));
    child.close_output();
    expect_ended_by_pipe(child.wait());
    EXPECT_EQ(entries(temp.path()), 1u);
    EXPECT_EQ(flashmoe({"pack", "--verify", store}).exit_code, 0);
    std::filesystem::remove_all(store);
  }
}

// The warning that the source is quantised already meets a closed pipe.
TEST_F(StopTest, ACommandWhoseErrorsNobodyReadsStops) {
  const TempFolder temp;
  const Outcome small =
      run_command(command({"quantize", tiny_, temp.file("small"), "--recipe", "minmax"}));
  ASSERT_EQ(small.exit_code, 0) << small;
  ChildProcess child(command({"quantize", temp.file("small"), temp.file("out"), "--bits", "2"}));
  child.close_error();
  expect_ended_by_pipe(child.wait());
  EXPECT_EQ(entries(temp.path()), 1u);
}

}  // namespace
}  // namespace flashmoe::cli
