// All that is measured of one model in one setting: JSON for scripts, a row of a table for people.
// Owns the names of the figures; the measuring lies in text_scores.h and task_scores.h.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "eval/task_scores.h"
#include "eval/text_scores.h"

namespace flashmoe::eval {

// How large a model is on disk.
struct ModelSize {
  uint64_t bytes = 0;   // its weight files, whole, less tensors that flashmoe does not use
  int64_t weights = 0;  // of all matrices: norms and other vectors count only as bytes
  double bits_per_weight() const;
};
ModelSize model_size(const std::string& folder);

struct Evaluation {
  std::string model;    // the folder
  std::string setting;  // "k=2, kv=f16": what differs from the defaults; may be empty
  std::string base;     // the folder; empty without one
  ModelSize size;
  std::optional<TextScores> text;
  std::optional<TaskScores> tasks;
};

// The keys that scripts rely on: model, bytes, bits_per_weight, perplexity, kl_mean, kl_p99,
// kl_p999, top1, json_valid, tasks.KIND.right and .of, …
Json evaluation_json(const Evaluation& evaluation);
// For people, several lines.
std::string evaluation_text(const Evaluation& evaluation);
// A Markdown table with a row for each; columns that no row fills are left out.
std::string evaluation_table(const std::vector<Evaluation>& evaluations);

}  // namespace flashmoe::eval
