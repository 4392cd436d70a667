#include "eval/evaluation.h"

#include <gtest/gtest.h>

#include "eval/task_scores.h"

namespace flashmoe::eval {
namespace {

Evaluation example() {
  Evaluation e;
  e.model = "/models/A/";
  e.base = "/models/B";
  e.size = {3'000'000, 8'000'000};
  e.text = TextScores{100, 5.25, Divergence{0.0123456, 0.5, 2, 3, 0.98765, 5}};
  e.tasks = TaskScores{{{"tool_call", {3, 4}}, {"sums", {0, 2}}}, {4, 5}};
  return e;
}

TEST(EvaluationTest, JsonHasTheKeysOfScripts) {
  const Json json = evaluation_json(example());
  EXPECT_EQ(json["bits_per_weight"], 3.0);
  EXPECT_EQ(json["perplexity"], 5.25);
  EXPECT_EQ(json["kl_mean"], 0.0123456);
  EXPECT_EQ(json["kl_p99"], 0.5);
  EXPECT_EQ(json["kl_p999"], 2.0);
  EXPECT_EQ(json["top1"], 0.98765);
  EXPECT_EQ(json["json_valid"], 0.8);
  EXPECT_EQ(json["tasks"]["tool_call"]["right"], 3);
  EXPECT_EQ(json["tasks"]["tool_call"]["of"], 4);
}

TEST(EvaluationTest, TableHasAColumnForWhatAnyRowHas) {
  Evaluation other;
  other.model = "/models/C";
  other.setting = "k=2";
  other.size = {8'000'000, 8'000'000};
  EXPECT_EQ(
      evaluation_table({example(), other}),
      "| model | bytes | bits a weight | perplexity | KL mean | KL 99 % | KL 99.9 % | same top "
      "| valid JSON | tool call | sums |\n"
      "|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|\n"
      "| A | 2.86 MiB | 3.00 | 5.2500 | 0.0123 | 0.5 | 2 | 98.77 % | 4 / 5 | 3 / 4 | 0 / 2 |\n"
      "| C, k=2 | 7.63 MiB | 8.00 |  |  |  |  |  |  |  |  |\n");
}

TEST(EvaluationTest, ModelSizeIsThatOfItsWeightFiles) {
  const ModelSize size = model_size(FLASHMOE_SOURCE_DIR "/models/tiny");
  EXPECT_EQ(size.bytes, 16526024u);
  EXPECT_EQ(size.weights, 29177856);
}

// The embedded model on the first tasks of each kind that come with it.
TEST(TaskScoresTest, CountsByKind) {
  const std::string folder = FLASHMOE_SOURCE_DIR "/models/tiny";
  EngineOptions options;
  options.model = folder;
  options.threads = 1;
  options.context = 512;
  const auto engine = Engine::open(options);
  const engine::TextModel text(folder);
  const auto message = [](const char* content) {
    return Json{{"messages", {{{"role", "user"}, {"content", content}}}}};
  };
  const std::vector<Task> tasks = {
      {"capitals", message("What is the capital of France?"), "The capital of France is Paris."},
      {"sums", message("What is 3 + 4?"), "3 + 4 = 7"},
      {"sums", message("What is 3 + 4?"), "3 + 4 = 8"}};
  std::vector<std::string> answers;
  TaskOptions how;
  how.on_answer = [&](const Task&, const std::string& answer, bool) { answers.push_back(answer); };
  const TaskScores scores = score_tasks(*engine, text, tasks, how);
  EXPECT_EQ(answers, (std::vector<std::string>{"The capital of France is Paris.", "3 + 4 = 7",
                                               "3 + 4 = 7"}));
  ASSERT_EQ(scores.kinds.size(), 2u);
  EXPECT_EQ(scores.kinds[0].second.right, 1);
  EXPECT_EQ(scores.kinds[1].second.right, 1);
  EXPECT_EQ(scores.kinds[1].second.of, 2);
  EXPECT_EQ(scores.json.of, 0);
}

}  // namespace
}  // namespace flashmoe::eval
