// What is wrong on the command line is said in words that help, with exit code 2.
#include <cctype>

#include "tests/base/temp_folder.h"
#include "tests/cli/flashmoe.h"

namespace flashmoe::cli {
namespace {

TEST(UsageTest, HelpAndVersion) {
  const Outcome help = flashmoe({"--help"});
  EXPECT_EQ(help.exit_code, 0) << help;
  EXPECT_EQ(help.err, "");
  for (const char* name :
       {"run", "inspect", "logits", "tokenize", "render", "quantize", "imatrix", "eval"}) {
    EXPECT_NE(help.out.find(std::string("\n  ") + name + " "), std::string::npos) << name << help;
    const Outcome command_help = flashmoe({name, "--help"});
    EXPECT_EQ(command_help.exit_code, 0) << command_help;
    EXPECT_NE(command_help.out.find("Usage:"), std::string::npos) << command_help;
  }
  const Outcome version = flashmoe({"--version"});
  EXPECT_EQ(version.exit_code, 0) << version;
  EXPECT_TRUE(std::isdigit(version.out.front())) << version;
}

TEST(UsageTest, UnknownWords) {
  expect_usage_error(flashmoe({"runn"}), {"runn"});
  expect_usage_error(flashmoe({"run", "--colour", "red", "hi"}), {"--colour"});
  expect_usage_error(flashmoe({"inspect", "a", "b"}), {"b"});
  expect_usage_error(flashmoe({}), {"no command", "run", "inspect", "--help"});
}

TEST(UsageTest, NoPrompt) {
  const std::vector<std::string> parts = {"no prompt", "flashmoe run \"Explain"};
  expect_usage_error(flashmoe({"run"}), parts);
  expect_usage_error(flashmoe({"run", golden_models() / "qwen3_moe_split_bf16"}), parts);
  expect_usage_error(flashmoe({"run", "--prompt", ""}), parts);
  const TempFolder temp;
  expect_usage_error(flashmoe({"run", "--file", temp.write("empty.txt", "")}), parts);
}

TEST(UsageTest, TooManyPrompts) {
  const TempFolder temp;
  expect_usage_error(flashmoe({"run", "hi", "--file", temp.write("p.txt", "hi")}), {"--file"});
  expect_usage_error(flashmoe({"run", "-m", "a/b", "hi", "there"}), {"too many"});
  expect_usage_error(flashmoe({"run", "-m", "a/b", "hi", "-p", "there"}), {"--prompt", "hi"});
}

TEST(UsageTest, BadValues) {
  const auto run = [](std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), {"run", "hi"});
    return flashmoe(arguments);
  };
  expect_usage_error(run({"--think", "nonsense"}), {"--think", "nonsense", "on, off"});
  expect_usage_error(run({"--think", "-1"}), {"--think", "-1"});
  expect_usage_error(run({"--memory", "12x"}), {"--memory", "12x", "16GiB"});
  expect_usage_error(run({"--memory", "-1G"}), {"--memory", "-1G", "16GiB"});
  expect_usage_error(run({"--memory", ""}), {"--memory", "16GiB"});
  expect_usage_error(run({"--chunk", "0"}), {"--chunk", "1"});
  expect_usage_error(run({"--context", "0"}), {"--context", "1"});
  expect_usage_error(run({"--threads", "0"}), {"--threads", "1"});
  expect_usage_error(run({"--threads", "many"}), {"--threads", "many"});
  expect_usage_error(run({"--io", "mmap"}), {"--io", "mmap", "uring"});
  expect_usage_error(run({"--backend", "cuda"}), {"--backend", "cuda", "ref"});
  expect_usage_error(run({"--kv", "q8"}), {"--kv", "q8", "f16"});
  expect_usage_error(run({"-k", "0"}), {"--experts", "1"});
  expect_usage_error(run({"-n", "-3"}), {"--tokens"});
  expect_usage_error(run({"--temp", "warm"}), {"--temp", "warm"});
  expect_usage_error(run({"--seed", "x"}), {"--seed", "x"});
  expect_usage_error(run({"--seed", "-1"}), {"--seed", "-1"});
  expect_usage_error(run({"--seed", "18446744073709551616"}), {"--seed", "18446744073709551616"});
  expect_usage_error(flashmoe({"bench", "decode", "--seed", "-1"}), {"--seed", "-1"});
  expect_usage_error(flashmoe({"synth", "qwen3.5-35b-a3b", "/nonexistent/out", "--seed", "-1"}),
                     {"--seed", "-1"});
  expect_usage_error(run({"--raw", "--system", "x"}), {"--raw", "--system"});
  expect_usage_error(run({"--raw", "--think", "on"}), {"--raw", "--think"});
}

class ModelUsageTest : public TinyModelTest {
 protected:
  Outcome run(std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), {"run", tiny_, "hi"});
    return flashmoe(arguments);
  }
};

TEST_F(ModelUsageTest, BeyondTheModel) {
  expect_usage_error(run({"--context", "8193"}), {"8193", "limit is 8192"});
  expect_usage_error(run({"-k", "33"}), {"33", "32"});
  expect_usage_error(run({"--context", "4"}), {"holds 4", "raise --context", "limit is 8192"});
  std::string prompt;
  for (int i = 0; i < 9000; ++i) prompt += "word ";
  const Outcome outcome = flashmoe({"run", tiny_, "--raw", "--file", "-"}, prompt);
  expect_usage_error(outcome, {"holds 8192", "the model's own limit", "shorten"});
  EXPECT_EQ(outcome.err.find("raise"), std::string::npos) << outcome;
}

TEST_F(ModelUsageTest, SamplingOutOfRange) {
  expect_usage_error(run({"--temp", "-1"}), {"temperature", "-1"});
  expect_usage_error(run({"--temp", "nan"}), {"temperature", "nan"});
  expect_usage_error(run({"--top-p", "1.5"}), {"top-p", "1.5"});
  expect_usage_error(run({"--min-p", "-0.1"}), {"min-p", "-0.1"});
  expect_usage_error(run({"--top-k", "-1"}), {"top-k", "-1"});
  expect_usage_error(run({"--repetition-penalty", "0"}), {"repetition", "0"});
}

}  // namespace
}  // namespace flashmoe::cli
