#include "experts/routing_source.h"

#include <gtest/gtest.h>

#include "base/error.h"
#include "tests/base/temp_folder.h"
#include "tests/experts/traces.h"

namespace flashmoe::experts {
namespace {

const RoutingShape kShape{2, 5, 2};

RoutingTrace three_rows() {
  return {"m", kShape, {{1, {3, 1, 4, 0}, {}}, {2, {0, 1, 2, 3, 4, 3, 1, 2}, {}}}};
}

using Rows = std::vector<std::vector<uint16_t>>;
const Rows kRows = {{3, 1, 4, 0}, {0, 1, 4, 3}, {2, 3, 1, 2}};

Rows rows_of(RouteTap& tap, std::vector<int64_t> step_rows, const RoutingShape& shape = kShape) {
  return by_row(generate_trace(tap, shape, step_rows));
}

TEST(TraceRoutingTest, ReplaysRowsHoweverTheyComeInSteps) {
  TraceRouting single(three_rows(), kShape, "t");
  EXPECT_EQ(rows_of(single, {1, 1, 1}), kRows);
  TraceRouting grouped(three_rows(), kShape, "t");
  EXPECT_EQ(rows_of(grouped, {2, 1}), kRows);
  EXPECT_EQ(rows_of(grouped, {3}), kRows) << "from the start again";
}

TEST(TraceRoutingTest, StartsAgainAtItsEnd) {
  TraceRouting routing(three_rows(), kShape, "t");
  EXPECT_EQ(rows_of(routing, {4, 1}), (Rows{kRows[0], kRows[1], kRows[2], kRows[0], kRows[1]}));
}

TEST(TraceRoutingTest, RepeatsTheRowsOfAFailedStepAndKeepsWeights) {
  TraceRouting routing(three_rows(), kShape, "t");
  std::vector<kernels::Route> routes = {{0, 0.75f, 7}, {1, 0.25f, 8}};
  for (int attempt = 0; attempt < 2; ++attempt) {
    routing.begin_step(1);
    routing.on_routes(0, routes, 2);
    EXPECT_EQ(routes[0].expert, 3);
    EXPECT_EQ(routes[1].expert, 1);
    EXPECT_EQ(routes[0].weight, 0.75f);
    EXPECT_EQ(routes[1].weight, 0.25f);
  }
}

TEST(TraceRoutingTest, RepeatsTheGuessesOfItsModel) {
  RoutingTrace trace = three_rows();
  trace.steps[0].early = {kNoPick, kNoPick, 2, 4};
  trace.steps[1].early = {kNoPick, kNoPick, kNoPick, kNoPick, 3, 0, 1, 4};
  TraceRouting routing(trace, kShape, "t");
  routing.begin_step(2);
  for (int layer = 0; layer < 2; ++layer) {
    std::vector<kernels::Route> guess = {{3, 0.5f, 7}, {1, 0.25f, 8}, {0, 0.5f, 9}, {2, 0.25f, 9}};
    routing.on_early_routes(layer, guess, 2);
    const std::vector<int32_t> experts = {guess[0].expert, guess[1].expert, guess[2].expert,
                                          guess[3].expert};
    // Where the trace has no guess, the model's own stays.
    EXPECT_EQ(experts,
              layer == 0 ? (std::vector<int32_t>{3, 1, 0, 2}) : (std::vector<int32_t>{2, 4, 3, 0}));
    EXPECT_EQ(guess[0].weight, 0.5f);
  }
}

TEST(TraceRoutingTest, GivesFewerPicksMostProbableFirst) {
  const RoutingShape fewer{2, 5, 1};
  TraceRouting routing(three_rows(), fewer, "t");
  EXPECT_EQ(rows_of(routing, {2}, fewer), (Rows{{3, 4}, {0, 4}}));
}

TEST(TraceRoutingTest, RefusesAnotherModelsTrace) {
  for (const RoutingShape& shape : {RoutingShape{3, 5, 2}, {2, 6, 2}, {2, 5, 3}}) {
    try {
      TraceRouting(three_rows(), shape, "some/file");
      ADD_FAILURE() << shape.layers;
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::kUsage);
      EXPECT_NE(std::string(error.what()).find("some/file"), std::string::npos);
    }
  }
  EXPECT_THROW(TraceRouting({"m", kShape, {}}, kShape, "t"), Error);
}

TEST(MakeRoutingTest, KnowsEverySpec) {
  EXPECT_EQ(make_routing("model", kShape, 1), nullptr);
  EXPECT_NE(make_routing("synthetic", kShape, 1), nullptr);
  EXPECT_NE(make_routing("uniform", kShape, 1), nullptr);
  const TempFolder folder;
  RoutingTraceWriter writer(folder.file("t"), "m", kShape, false);
  for (const TraceStep& step : three_rows().steps) writer.write(step);
  writer.finish();
  const std::unique_ptr<RouteTap> tap = make_routing("trace:" + folder.file("t"), kShape, 1);
  EXPECT_EQ(rows_of(*tap, {3}), kRows);
  for (const char* wrong : {"", "random", "trace", "trace:", "Synthetic"}) {
    EXPECT_THROW(make_routing(wrong, kShape, 1), Error) << wrong;
  }
}

}  // namespace
}  // namespace flashmoe::experts
