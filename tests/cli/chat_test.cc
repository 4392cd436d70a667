// flashmoe chat in a pipe: every line of standard input is a message or a command.
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>

#include "tests/base/temp_folder.h"
#include "tests/cli/flashmoe.h"

namespace flashmoe::cli {
namespace {

class ChatTest : public TinyModelTest {
 protected:
  Outcome chat(const std::string& input, std::vector<std::string> arguments = {}) {
    arguments.insert(arguments.begin(),
                     {"chat", tiny_, "--temp", "0", "-n", "24", "--memory", "1GiB"});
    return flashmoe(arguments, input, {{"XDG_DATA_HOME", folder_.path()}});
  }
  // The ids that --sessions lists, newest first.
  std::vector<std::string> sessions() {
    const Outcome outcome =
        flashmoe({"chat", "--sessions"}, "", {{"XDG_DATA_HOME", folder_.path()}});
    EXPECT_EQ(outcome.exit_code, 0) << outcome;
    std::vector<std::string> ids;
    std::istringstream lines(outcome.out);
    for (std::string line; std::getline(lines, line);)
      ids.push_back(line.substr(0, line.find(' ')));
    return ids;
  }

  TempFolder folder_;
};

TEST_F(ChatTest, AnswersAsRunDoes) {
  const Outcome outcome = chat("Explain quantum computing\n");
  ASSERT_EQ(outcome.exit_code, 0) << outcome;
  const nlohmann::json run = greedy_run({"-n", "24", "Explain quantum computing"});
  EXPECT_EQ(outcome.out, run["text"].get<std::string>() + "\n");
}

TEST_F(ChatTest, AConversationGoesOnWhereItWas) {
  const Outcome whole = chat("What is 12 + 30?\nAnd what is the capital of France?\n");
  ASSERT_EQ(whole.exit_code, 0) << whole;
  const Outcome first = chat("What is 12 + 30?\n");
  const std::vector<std::string> ids = sessions();
  ASSERT_EQ(ids.size(), 2u);
  const Outcome second = chat("And what is the capital of France?\n", {"--resume", ids[0]});
  ASSERT_EQ(second.exit_code, 0) << second;
  EXPECT_EQ(first.out + second.out, whole.out);
  EXPECT_EQ(sessions().size(), 2u);
}

TEST_F(ChatTest, ResumesByIdOrFileFromAnywhere) {
  ASSERT_EQ(chat("What is 12 + 30?\n").exit_code, 0);
  const std::string id = sessions().at(0);
  const std::string kept = folder_.path() + "/flashmoe/sessions/" + id + ".jsonl";
  const std::string elsewhere = folder_.path() + "/elsewhere";
  std::filesystem::create_directory(elsewhere);
  size_t messages = 0;
  for (const std::string& name : {id, id + ".jsonl", kept}) {
    Command there = command({"-c", "cd \"$0\" && exec \"$@\"", elsewhere, FLASHMOE_BINARY, "chat",
                             tiny_, "-n", "4", "--memory", "1GiB", "--resume", name},
                            "And 1 + 2?\n", {{"XDG_DATA_HOME", folder_.path()}});
    there.program = "/bin/sh";
    const Outcome outcome = run_command(there);
    ASSERT_EQ(outcome.exit_code, 0) << outcome;
    std::ifstream file(kept);
    const std::string text{std::istreambuf_iterator<char>(file), {}};
    const size_t lines = static_cast<size_t>(std::ranges::count(text, '\n'));
    EXPECT_EQ(lines, 5 + messages) << "a question and an answer more: " << text;
    messages += 2;
  }
  EXPECT_EQ(sessions().size(), 1u);
  expect_failure(chat("", {"--resume", "none"}), {"none", "--sessions", folder_.path()});
  expect_failure(chat("", {"--resume", folder_.path()}), {folder_.path(), "--sessions"});
}

TEST_F(ChatTest, Commands) {
  const std::string file = folder_.path() + "/kept.jsonl";
  const Outcome outcome = chat(
      "/system Be brief.\n/set temperature 0.5\n/set\n/nonsense\n/set seed x\n"
      "/save " +
      file + "\n/new\n/load " + file +
      "\n/model\n/stats\n/help\n"
      "/sessions\n/quit\nnot asked\n");
  ASSERT_EQ(outcome.exit_code, 0) << outcome;
  for (const char* part : {"System message: Be brief.", "temperature          0.5",
                           "there is no command /nonsense", "seed is a whole number", "and in ",
                           "GB/s from disk", "/sessions", "list the conversations"}) {
    EXPECT_NE(outcome.out.find(part), std::string::npos) << part << "\n" << outcome;
  }
  EXPECT_TRUE(std::filesystem::exists(file));
}

TEST_F(ChatTest, LongerTexts) {
  const Outcome block = chat("\"\"\"Explain\nquantum computing\"\"\"\n");
  const Outcome joined = chat("Explain\\\nquantum computing\n");
  EXPECT_EQ(block.out, joined.out);
  EXPECT_EQ(
      greedy_run({"-n", "24", "Explain\nquantum computing"})["text"].get<std::string>() + "\n",
      block.out);
}

TEST_F(ChatTest, RefusesWhatMakesNoSense) {
  expect_usage_error(flashmoe({"chat", tiny_, "--url", "http://127.0.0.1:1"}), {"--url"});
  expect_usage_error(flashmoe({"chat", tiny_, "--temp", "hot"}), {"temperature", "hot"});
  expect_failure(flashmoe({"chat", "--tools", "/no/such/file"}), {"/no/such/file"});
}

}  // namespace
}  // namespace flashmoe::cli
