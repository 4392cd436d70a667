#include "eval/task_scores.h"

#include <algorithm>

#include "base/error.h"
#include "engine/generate.h"

namespace flashmoe::eval {

namespace {

void count(Share* share, bool right) {
  share->right += right ? 1 : 0;
  ++share->of;
}

Share* share_of(TaskScores* scores, const std::string& kind) {
  const auto found = std::find_if(scores->kinds.begin(), scores->kinds.end(),
                                  [&](const auto& k) { return k.first == kind; });
  if (found != scores->kinds.end()) return &found->second;
  return &scores->kinds.emplace_back(kind, Share{}).second;
}

}  // namespace

TaskScores score_tasks(Engine& engine, const engine::TextModel& text,
                       const std::vector<Task>& tasks, const TaskOptions& options) {
  engine::GenerateOptions generation;
  generation.max_tokens = options.max_tokens;
  generation.sampling.temperature = 0;
  generation.stop_tokens = text.stop_tokens();
  TaskScores scores;
  Session session(engine);
  int64_t done = 0;
  for (const Task& task : tasks) {
    Json variables = task.variables;
    variables["enable_thinking"] = false;
    const std::vector<int32_t> prompt = text.encode_chat(std::move(variables));
    const engine::Generation result =
        engine::generate(session, prompt, generation, {}, options.stop);
    if (result.finish == engine::FinishReason::kCancelled) {
      throw Error(ErrorCode::kCancelled, "stopped");
    }
    const std::string answer = text.tokenizer().decode(result.tokens, false);
    const bool right = is_right(task, answer);
    count(share_of(&scores, task.kind), right);
    if (const auto valid = has_valid_json(task, answer)) count(&scores.json, *valid);
    if (options.on_answer) options.on_answer(task, answer, right);
    if (options.progress) options.progress(++done);
  }
  return scores;
}

}  // namespace flashmoe::eval
