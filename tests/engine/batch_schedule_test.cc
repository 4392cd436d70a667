#include "engine/batch_schedule.h"

#include <gtest/gtest.h>

namespace flashmoe::engine {
namespace {

TEST(BatchScheduleTest, WithoutAnswersPromptsGetWholeSteps) {
  BatchSchedule schedule(512, 128, 0.5);
  EXPECT_EQ(schedule.prompt_rows(0), 512);
  schedule.ran(0, 512, 10);
  EXPECT_EQ(schedule.prompt_rows(0), 512);
  EXPECT_EQ(schedule.prompt_rows(3), 128) << "nothing is owed to answers that were not there";
}

TEST(BatchScheduleTest, AnswersGetTheirShareOfTheTime) {
  for (const double share : {0.5, 0.25, 1.0}) {
    BatchSchedule schedule(512, 128, share);
    double prompt_s = 0, total_s = 0;
    for (int step = 0; step < 4000; ++step) {
      const int64_t rows = schedule.prompt_rows(4);
      const double seconds = rows > 0 ? 0.8 : 0.1;
      schedule.ran(4, rows, seconds);
      total_s += seconds;
      if (rows > 0) prompt_s += seconds;
    }
    EXPECT_NEAR(prompt_s / total_s, share, 0.03);
  }
}

TEST(BatchScheduleTest, AStepHasRoomForAllAnswers) {
  BatchSchedule schedule(16, 12, 0.5);
  EXPECT_EQ(schedule.prompt_rows(3), 12);
  EXPECT_EQ(schedule.prompt_rows(10), 6);
  EXPECT_EQ(schedule.prompt_rows(16), 0);
}

}  // namespace
}  // namespace flashmoe::engine
