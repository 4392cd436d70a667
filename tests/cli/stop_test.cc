// Ctrl-C and a reader that goes away.
#include <chrono>
#include <csignal>
#include <thread>

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

TEST_F(StopTest, CtrlCDuringALongPromptEndsIt) {
  std::string prompt;
  for (int i = 0; i < 1500; ++i) prompt += "word ";
  ChildProcess child(command({"run", tiny_, "--raw", "--backend", "ref", "--json", "--chunk",
                              "4096", "--threads", "1", "-n", "4000", "-p", prompt}));
  // Nothing tells that it has begun; a second is enough to load this model.
  std::this_thread::sleep_for(std::chrono::seconds(1));
  const Clock::time_point asked = Clock::now();
  child.send(SIGINT);
  const Outcome outcome = child.wait();
  EXPECT_LT(Clock::now() - asked, std::chrono::seconds(5));
  EXPECT_EQ(outcome.exit_code, 0) << outcome;
}

TEST_F(StopTest, JsonOfAStoppedAnswerIsWhole) {
  ChildProcess child(long_answer({"--json"}));
  std::this_thread::sleep_for(std::chrono::seconds(1));
  child.send(SIGINT);
  const Outcome outcome = child.wait();
  EXPECT_EQ(outcome.exit_code, 0) << outcome;
  const nlohmann::json json = nlohmann::json::parse(outcome.out, nullptr, false);
  ASSERT_FALSE(json.is_discarded()) << outcome;
  EXPECT_EQ(json["finish_reason"], "cancelled");
  EXPECT_EQ(json["tokens"].size(), json["generated_tokens"]);
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

}  // namespace
}  // namespace flashmoe::cli
