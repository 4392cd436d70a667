// flashmoe run: --json, --timing and --think.
#include <filesystem>

#include "tests/base/temp_folder.h"
#include "tests/cli/flashmoe.h"

namespace flashmoe::cli {
namespace {

constexpr const char* kQuestion = "What is the capital of France?";
const std::vector<std::string> kStages = {"dense",       "attention",      "delta_net", "router",
                                          "expert_read", "expert_compute", "sampling"};

class RunReportTest : public TinyModelTest {};

TEST_F(RunReportTest, JsonHasEveryKey) {
  const Outcome outcome = flashmoe({"run", tiny_, kQuestion, "--temp", "0", "--json"});
  const nlohmann::json json = json_output(outcome);
  EXPECT_EQ(outcome.err, "");
  EXPECT_TRUE(outcome.out.ends_with("}\n"));
  for (const char* key : {"prompt_tokens", "generated_tokens", "expert_hits", "expert_misses",
                          "disk_bytes", "peak_rss_bytes"}) {
    EXPECT_TRUE(json[key].is_number_unsigned()) << key << ": " << json[key];
  }
  for (const char* key : {"first_token_s", "prompt_tok_s", "generate_tok_s"}) {
    EXPECT_TRUE(json[key].is_number()) << key;
    EXPECT_GT(json[key], 0) << key;
  }
  EXPECT_EQ(json["stages"].size(), kStages.size());
  double total_s = 0;
  for (const std::string& stage : kStages) {
    ASSERT_TRUE(json["stages"][stage]["seconds"].is_number()) << stage;
    EXPECT_GE(json["stages"][stage]["seconds"], 0);
    total_s += json["stages"][stage]["seconds"].get<double>();
  }
  EXPECT_GT(total_s, 0);
  EXPECT_EQ(json["tokens"].size(), json["generated_tokens"]);
  EXPECT_EQ(json["stages"]["expert_read"].value("bytes", uint64_t{0}), json["disk_bytes"]);
  EXPECT_GT(json["expert_misses"], 0);
  EXPECT_GT(json["peak_rss_bytes"], 1 << 20);
}

TEST_F(RunReportTest, JsonTextIsWhatIsPrintedAndWhatTokensDecodeTo) {
  const nlohmann::json json = greedy_run({kQuestion});
  const Outcome plain = flashmoe({"run", tiny_, kQuestion, "--temp", "0"});
  EXPECT_EQ(plain.out, json["text"].get<std::string>() + "\n");
  const Outcome decoded = flashmoe({"tokenize", tiny_, "--decode"}, json["tokens"].dump());
  EXPECT_EQ(decoded.out, json["text"]);
}

TEST_F(RunReportTest, TimingTableHasEveryStage) {
  const Outcome outcome = flashmoe({"run", tiny_, kQuestion, "--temp", "0", "--timing"});
  EXPECT_EQ(outcome.exit_code, 0) << outcome;
  EXPECT_EQ(outcome.out, flashmoe({"run", tiny_, kQuestion, "--temp", "0"}).out);
  std::vector<std::string> parts = kStages;
  for (const char* part : {"first token", "prompt", "generation", "tok/s", "GB/s", "hits", "misses",
                           "memory", "stop"}) {
    parts.push_back(part);
  }
  for (const std::string& part : parts) {
    EXPECT_NE(outcome.err.find(part), std::string::npos) << part << " in " << outcome;
  }
}

// A template with the switch, and an answer that never closes its reasoning by itself.
TEST_F(RunReportTest, ThinkSwitchesTheTemplateAndLimitsTheReasoning) {
  namespace fs = std::filesystem;
  const TempFolder temp;
  for (const fs::directory_entry& entry : fs::directory_iterator(tiny_)) {
    if (entry.path().filename() == "chat_template.jinja") continue;
    fs::create_symlink(entry.path(), temp.file(entry.path().filename().string()));
  }
  temp.write("chat_template.jinja",
             "{% if enable_thinking is defined %}{% if enable_thinking %}thinking <think>"
             "{% else %}no{% endif %}{% endif %}{{ messages[0].content }}");
  const auto run = [&](std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(),
                     {"run", temp.path(), "Once upon a time", "--temp", "0", "--json", "-n", "40"});
    return json_output(flashmoe(arguments));
  };
  const int base = run({})["prompt_tokens"];
  const nlohmann::json on = run({"--think", "on"});
  EXPECT_GT(on["prompt_tokens"], base + 1);
  EXPECT_EQ(on["tokens"].size(), 40u) << "a story goes on for longer";
  const nlohmann::json off = run({"--think", "off"});
  EXPECT_EQ(off["prompt_tokens"], base + 1);
  const nlohmann::json none = run({"--think", "0"});
  EXPECT_EQ(none["prompt_tokens"], off["prompt_tokens"]);
  EXPECT_EQ(none["tokens"], off["tokens"]);
  for (const int budget : {1, 5}) {
    const nlohmann::json limited = run({"--think", std::to_string(budget)});
    EXPECT_EQ(limited["prompt_tokens"], on["prompt_tokens"]);
    const std::string text = limited["text"];
    const nlohmann::json before =
        json_output(flashmoe({"tokenize", temp.path()}, text.substr(0, text.find("</think>"))));
    ASSERT_NE(text.find("</think>"), std::string::npos) << text;
    EXPECT_LE(before.size(), static_cast<size_t>(budget)) << text;
    for (size_t i = 0; i < static_cast<size_t>(budget); ++i) {
      EXPECT_EQ(limited["tokens"][i], on["tokens"][i]) << "the reasoning itself is unchanged";
    }
  }
}

}  // namespace
}  // namespace flashmoe::cli
