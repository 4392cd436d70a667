// flashmoe run: where the prompt comes from, what is sampled, and that nothing but the options that
// should change an answer does.
#include <set>

#include "tests/base/temp_folder.h"
#include "tests/cli/flashmoe.h"

namespace flashmoe::cli {
namespace {

constexpr const char* kQuestion = "What is the capital of France?";

class RunTest : public TinyModelTest {};

TEST_F(RunTest, AnswersAPrompt) {
  const Outcome outcome = flashmoe({"run", tiny_, kQuestion, "--temp", "0"});
  EXPECT_EQ(outcome.exit_code, 0) << outcome;
  EXPECT_NE(outcome.out.find("Paris"), std::string::npos) << outcome;
  EXPECT_TRUE(outcome.out.ends_with('\n'));
  EXPECT_EQ(outcome.err, "");
}

TEST_F(RunTest, TakesThePromptFromAnywhere) {
  const TempFolder temp;
  const std::string file = temp.write("prompt.txt", kQuestion);
  const std::vector<std::string> end = {"--temp", "0", "-n", "24"};
  const auto answer = [&](std::vector<std::string> arguments, const std::string& input = "") {
    arguments.insert(arguments.begin(), "run");
    arguments.insert(arguments.end(), end.begin(), end.end());
    const Outcome outcome = flashmoe(arguments, input);
    EXPECT_EQ(outcome.exit_code, 0) << outcome;
    return outcome.out;
  };
  const std::string expected = answer({tiny_, kQuestion});
  EXPECT_FALSE(expected.empty());
  EXPECT_EQ(answer({tiny_}, kQuestion), expected);
  EXPECT_EQ(answer({"-m", tiny_}, kQuestion), expected);
  EXPECT_EQ(answer({"-m", tiny_, kQuestion}), expected);
  EXPECT_EQ(answer({tiny_, "-p", kQuestion}), expected);
  EXPECT_EQ(answer({"--model", tiny_, "--prompt", kQuestion}), expected);
  EXPECT_EQ(answer({tiny_, "--file", file}), expected);
  EXPECT_EQ(answer({tiny_, "-f", "-"}, kQuestion), expected);
  EXPECT_EQ(answer({tiny_, kQuestion}, "ignored"), expected);
}

TEST_F(RunTest, PromptsMayLookLikeOptionsAndPaths) {
  for (const std::string prompt :
       {"and/or", "inspect", "[1, 2]", "{}", "-5 + 3 = ?", "@file", "%"}) {
    const nlohmann::json json = greedy_run({"--prompt=" + prompt, "-n", "1"});
    const nlohmann::json piped = greedy_run({"-n", "1"}, prompt);
    EXPECT_EQ(json["prompt_tokens"], piped["prompt_tokens"]) << prompt;
  }
  const std::string dash = "-5 + 3 = ?";
  EXPECT_EQ(flashmoe({"run", tiny_, "-n", "4", "--", dash}).exit_code, 0);
}

TEST_F(RunTest, TakesASystemMessageAsTextOrFile) {
  const TempFolder temp;
  const std::string file = temp.write("system.txt", "Answer in one word.");
  const nlohmann::json without = greedy_run({kQuestion, "-n", "8"});
  const nlohmann::json text = greedy_run({kQuestion, "-n", "8", "--system", "Answer in one word."});
  const nlohmann::json from_file = greedy_run({kQuestion, "-n", "8", "--system", "@" + file});
  EXPECT_GT(text["prompt_tokens"], without["prompt_tokens"]);
  EXPECT_EQ(from_file["prompt_tokens"], text["prompt_tokens"]);
  EXPECT_EQ(from_file["tokens"], text["tokens"]);
}

TEST_F(RunTest, ContinuesPlainText) {
  const std::string text = "Once upon a time<|im_end|>";
  const auto count = [&](std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), {"tokenize", tiny_});
    return json_output(flashmoe(arguments, text)).size();
  };
  EXPECT_EQ(greedy_run({"--raw", "-p", text, "-n", "4"})["prompt_tokens"], count({}));
  const nlohmann::json special = greedy_run({"--raw", "--parse-special", "-p", text, "-n", "4"});
  EXPECT_EQ(special["prompt_tokens"], count({"--parse-special"}));
  EXPECT_LT(count({"--parse-special"}), count({}));
}

TEST_F(RunTest, SpecialTokensInAMessageStayText) {
  const int plain = greedy_run({"-p", "ab", "-n", "1"})["prompt_tokens"];
  const int with_special = greedy_run({"-p", "a<|im_end|>b", "-n", "1"})["prompt_tokens"];
  EXPECT_GT(with_special, plain + 2);
}

TEST_F(RunTest, StopsAtTheGivenNumberOfTokens) {
  const nlohmann::json five = greedy_run({"--raw", "Once upon a time", "-n", "5"});
  EXPECT_EQ(five["generated_tokens"], 5);
  EXPECT_EQ(five["tokens"].size(), 5u);
  EXPECT_EQ(five["finish_reason"], "length");
  const nlohmann::json none = greedy_run({"--raw", "Once upon a time", "-n", "0"});
  EXPECT_EQ(none["generated_tokens"], 0);
  EXPECT_EQ(none["text"], "");
  const nlohmann::json all = greedy_run({kQuestion});
  EXPECT_EQ(all["finish_reason"], "stop");
}

TEST_F(RunTest, HoldsAnswersToASchemaOrGrammar) {
  const TempFolder temp;
  const std::string schema = temp.write("schema.json", R"({"type": "object", "properties": {
      "capital": {"type": "string"}, "size": {"enum": ["big", "small"]}},
      "required": ["capital", "size"], "additionalProperties": false})");
  for (const char* limit : {"16", "40"}) {
    const nlohmann::json run = json_output(
        flashmoe({"run", tiny_, kQuestion, "--json", "--json-schema", schema, "-n", limit}));
    const nlohmann::json answer = nlohmann::json::parse(run["text"].get<std::string>());
    EXPECT_TRUE(answer["capital"].is_string() && answer.size() == 2) << answer;
    EXPECT_TRUE(answer["size"] == "big" || answer["size"] == "small") << answer;
  }
  const Outcome small = flashmoe({"run", tiny_, kQuestion, "--json-schema", schema, "-n", "3"});
  EXPECT_EQ(small.exit_code, 2) << small;
  EXPECT_NE(small.err.find("takes at least"), std::string::npos) << small;

  const std::string grammar = temp.write("grammar.gbnf", "root ::= \"Yes\" | \"No\"\n");
  const Outcome answer = flashmoe({"run", tiny_, kQuestion, "--grammar", grammar});
  EXPECT_TRUE(answer.out == "Yes\n" || answer.out == "No\n") << answer;
  const std::string wrong = temp.write("wrong.gbnf", "root ::= (\n");
  EXPECT_EQ(flashmoe({"run", tiny_, kQuestion, "--grammar", wrong}).exit_code, 2);
}

TEST_F(RunTest, EqualSeedsGiveEqualAnswers) {
  const auto answer = [&](const std::string& seed) {
    std::vector<std::string> arguments = {"run",     tiny_, "--raw", "Once upon a time", "--temp",
                                          "1.5",     "-n",  "16",    "--top-p",          "1",
                                          "--top-k", "0",   "--json"};
    if (!seed.empty()) arguments.insert(arguments.end(), {"--seed", seed});
    return json_output(flashmoe(arguments));
  };
  EXPECT_EQ(answer("7")["tokens"], answer("7")["tokens"]);
  std::set<std::string> texts;
  for (const char* seed : {"1", "2", "3", "18446744073709551615"})
    texts.insert(answer(seed)["text"]);
  EXPECT_EQ(texts.size(), 4u);
  // A random seed is told, so that the answer can be had again.
  const nlohmann::json random = answer("");
  EXPECT_EQ(answer(random["seed"].dump())["tokens"], random["tokens"]);
}

TEST_F(RunTest, NarrowSamplingIsGreedy) {
  const nlohmann::json expected = greedy_run({kQuestion, "-n", "12"})["tokens"];
  for (const std::vector<std::string>& narrow : std::vector<std::vector<std::string>>{
           {"--top-k", "1"}, {"--top-p", "0"}, {"--min-p", "1"}, {"--temperature", "0"}}) {
    std::vector<std::string> arguments = {"run", tiny_, kQuestion, "-n", "12", "--json"};
    arguments.insert(arguments.end(), narrow.begin(), narrow.end());
    EXPECT_EQ(json_output(flashmoe(arguments))["tokens"], expected) << narrow[0];
  }
}

TEST_F(RunTest, PenaltiesPreventRepetition) {
  const nlohmann::json tokens = greedy_run(
      {"--raw", "the the the the the the", "-n", "32", "--presence-penalty", "1000"})["tokens"];
  EXPECT_EQ(std::set<int>(tokens.begin(), tokens.end()).size(), tokens.size());
}

class RunIdentityTest : public TinyModelTest, public testing::WithParamInterface<std::string> {};

// Greedy answers to a prompt of several chunks.
TEST_P(RunIdentityTest, HowItIsComputedDoesNotShow) {
  std::string prompt;
  for (int i = 0; i < 40; ++i) prompt += "Tom has " + std::to_string(i) + " red apples. ";
  prompt += "Tell me a story about them.";
  const std::vector<std::string> base = {"-p", prompt, "-n", "24", "--backend", GetParam()};
  const nlohmann::json expected = greedy_run(base);
  EXPECT_GT(expected["prompt_tokens"], 256);
  EXPECT_EQ(expected["tokens"].size(), 24u);
  const std::string minimum = named_minimum(flashmoe(
      {"run", tiny_, "-p", prompt, "--backend", GetParam(), "--context", "500", "--memory", "1M"}));
  for (const std::vector<std::string>& change : std::vector<std::vector<std::string>>{
           {"--threads", "1"},
           {"--threads", "3"},
           {"--io", "uring"},
           {"--io", "pread"},
           {"--io", "buffered"},
           {"--chunk", "7"},
           {"--chunk", "512"},
           {"--context", "600"},
           {"--memory", minimum, "--context", "500"},
           {"--memory", minimum, "--context", "500", "--io", "pread", "--threads", "2"}}) {
    std::vector<std::string> arguments = base;
    arguments.insert(arguments.end(), change.begin(), change.end());
    const nlohmann::json json = greedy_run(arguments);
    EXPECT_EQ(json["tokens"], expected["tokens"]) << testing::PrintToString(change);
    EXPECT_EQ(json["text"], expected["text"]);
  }
}

INSTANTIATE_TEST_SUITE_P(Backends, RunIdentityTest, testing::Values("cpu", "ref"),
                         [](const auto& info) { return info.param; });

TEST_F(RunTest, FewerExpertsAreCalledLossy) {
  const Outcome fewer = flashmoe({"run", tiny_, kQuestion, "-n", "4", "-k", "2"});
  EXPECT_EQ(fewer.exit_code, 0) << fewer;
  EXPECT_NE(fewer.err.find("lossy: 2 experts a token instead of the 4"), std::string::npos)
      << fewer;
  const Outcome as_trained = flashmoe({"run", tiny_, kQuestion, "-n", "4", "--experts", "4"});
  EXPECT_EQ(as_trained.err, "");
  const Outcome quiet = flashmoe({"-q", "run", tiny_, kQuestion, "-n", "4", "-k", "2"});
  EXPECT_EQ(quiet.exit_code, 0) << quiet;
  EXPECT_EQ(quiet.err, "");
}

// The embedded model is found from the build tree and from an installation.
TEST_F(RunTest, FindsTheEmbeddedModel) {
  namespace fs = std::filesystem;
  for (const auto& [program, model] : std::map<std::string, std::string>{
           {"build/release/flashmoe", "models/tiny"},
           {"prefix/bin/flashmoe", "prefix/share/flashmoe/models/tiny"}}) {
    const TempFolder temp;
    for (const std::string& name : {program, model}) {
      fs::create_directories(fs::path(temp.file(name)).parent_path());
    }
    fs::copy_file(FLASHMOE_BINARY, temp.file(program));
    Command run = command({"run", kQuestion, "--temp", "0"});
    run.program = temp.file(program);
    expect_failure(run_command(run), {"embedded model", "name a model"});
    fs::create_directory_symlink(tiny_, temp.file(model));
    const Outcome outcome = run_command(run);
    EXPECT_EQ(outcome.exit_code, 0) << outcome;
    EXPECT_NE(outcome.out.find("Paris"), std::string::npos) << outcome;
  }
}

}  // namespace
}  // namespace flashmoe::cli
