// A model's answers to tasks, greedy, and how many are right. Owns the counts; what is right is
// judged by tasks.h.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "engine/text_model.h"
#include "eval/tasks.h"
#include "flashmoe/engine.h"

namespace flashmoe::eval {

struct Share {
  int64_t right = 0, of = 0;
};

struct TaskScores {
  std::vector<std::pair<std::string, Share>> kinds;  // in the order of the file
  Share json;                                        // answers whose JSON is valid
};

struct TaskOptions {
  int64_t max_tokens = 256;  // of an answer
  std::function<void(int64_t done_tasks)> progress;
  std::function<void(const Task& task, const std::string& answer, bool right)> on_answer;
  StopCheck stop;
};

// Every answer is generated on an empty session, without reasoning where the template can switch it
// off. Throws Error kCancelled when stopped.
TaskScores score_tasks(Engine& engine, const engine::TextModel& text,
                       const std::vector<Task>& tasks, const TaskOptions& options);

}  // namespace flashmoe::eval
