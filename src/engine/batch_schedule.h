// How running answers and waiting prompts share the engine. Owns the rule, and knows neither.
//
// Each running answer gets one row of every step. Prompts get the rows that are left, of which
// there may be many: a step takes the longer the more rows it has, and every answer waits for it.
// So while answers run
//   - a step takes at most `rows_beside_answers` rows of prompts, and
//   - prompts get at most `share` of the time: after a step of t seconds that held rows of a prompt
//     come steps of answers alone, until these have taken t (1 - share) / share seconds.
// Without running answers a step takes as many rows of prompts as fit.
#pragma once

#include <algorithm>
#include <cstdint>

namespace flashmoe::engine {

class BatchSchedule {
 public:
  // rows: of the largest step. rows_beside_answers > 0, 0 < share <= 1.
  BatchSchedule(int64_t rows, int64_t rows_beside_answers, double share)
      : rows_(rows), rows_beside_answers_(rows_beside_answers), share_(share) {}

  // The rows of prompts that the next step may take beside those of `answers` running answers.
  int64_t prompt_rows(int64_t answers) const {
    if (answers == 0) return rows_;
    if (owed_s_ > 0) return 0;
    return std::clamp<int64_t>(rows_ - answers, 0, rows_beside_answers_);
  }
  // A step ran.
  void ran(int64_t answers, int64_t prompt_rows, double seconds) {
    if (answers == 0) {
      owed_s_ = 0;
    } else if (prompt_rows > 0) {
      owed_s_ += seconds * (1 - share_) / share_;
    } else {
      owed_s_ = std::max(0.0, owed_s_ - seconds);
    }
  }

 private:
  int64_t rows_, rows_beside_answers_;
  double share_;
  double owed_s_ = 0;  // to the running answers
};

}  // namespace flashmoe::engine
