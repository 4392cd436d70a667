// flashmoe eval and imatrix, end to end on the embedded model.
#include <nlohmann/json.hpp>

#include "tests/base/temp_folder.h"
#include "tests/cli/flashmoe.h"

namespace flashmoe::cli {
namespace {

constexpr const char* kTasks =
    R"({"kind": "sums", "messages": [{"role": "user", "content": "What is 3 + 4?"}], "want": "3 + 4 = 7"})"
    "\n"
    R"({"kind": "capitals", "messages": [{"role": "user", "content": "Hi"}], "want": "Paris"})"
    "\n";

class EvalTest : public testing::Test {
 protected:
  const TempFolder temp_;
  const std::string text_ = temp_.write(
      "text.txt", "<|im_start|>user\nWhat is 3 + 4?<|im_end|>\n<|im_start|>assistant\n");
  const std::string tasks_ = temp_.write("tasks.jsonl", kTasks);
};

TEST_F(EvalTest, JsonHasWhatWasMeasured) {
  const std::string answers = temp_.file("answers.jsonl");
  const nlohmann::json json = json_output(
      flashmoe({"eval", FLASHMOE_SOURCE_DIR "/models/tiny", "--text", text_, "--tasks", tasks_,
                "--base", FLASHMOE_SOURCE_DIR "/models/tiny", "--json", "--answers", answers}));
  EXPECT_GT(json["perplexity"], 1.0);
  EXPECT_EQ(json["kl_mean"], 0.0);
  EXPECT_EQ(json["top1"], 1.0);
  EXPECT_EQ(json["tasks"]["sums"]["right"], 1);
  EXPECT_EQ(json["tasks"]["capitals"]["right"], 0);
  EXPECT_EQ(json["tasks"]["capitals"]["of"], 1);
  EXPECT_FALSE(json.contains("json_valid"));
  EXPECT_NE(temp_.read("answers.jsonl").find("\"answer\":\"3 + 4 = 7\""), std::string::npos);
}

TEST_F(EvalTest, SweepsMakeATable) {
  const Outcome outcome =
      flashmoe({"eval", "--text", text_, "--sweep", "k=4,1", "--sweep", "kv=f32"});
  EXPECT_EQ(outcome.exit_code, 0) << outcome;
  EXPECT_NE(outcome.out.find("| tiny, k=4, kv=f32 |"), std::string::npos) << outcome;
  EXPECT_NE(outcome.out.find("| tiny, k=1, kv=f32 |"), std::string::npos) << outcome;
}

TEST_F(EvalTest, RefusesWhatMakesNoSense) {
  expect_usage_error(flashmoe({"eval"}), {"--text", "--tasks"});
  expect_usage_error(flashmoe({"eval", "--tasks", tasks_, "--base", "x/y"}), {"--base", "--text"});
  expect_usage_error(flashmoe({"eval", "--text", text_, "--sweep", "k=0"}), {"--sweep", "k=0"});
  expect_usage_error(flashmoe({"eval", "--text", text_, "--sweep", "bits=4"}), {"--sweep", "bits"});
  expect_usage_error(flashmoe({"eval", "--text", text_, "--stride", "9", "--context", "8"}),
                     {"--stride 9"});
  expect_failure(flashmoe({"eval", "--tasks", text_}), {"text.txt:1"});
}

TEST_F(EvalTest, ImatrixWritesAFile) {
  const std::string out = temp_.file("i.safetensors");
  EXPECT_EQ(flashmoe({"imatrix", FLASHMOE_SOURCE_DIR "/models/tiny", text_, "-o", out}).exit_code,
            0);
  const std::string plain = temp_.read("i.safetensors");
  EXPECT_NE(plain.find("\"layers.7.experts_down.squares\""), std::string::npos);
  EXPECT_EQ(plain.find(".moments"), std::string::npos);
}

}  // namespace
}  // namespace flashmoe::cli
