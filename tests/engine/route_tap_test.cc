// What a tap on the routes sees and does: recording changes nothing, a recorded routing put back
// gives the same logits, and experts that a tap puts in place are those that run.
#include "experts/route_tap.h"

#include <gtest/gtest.h>

#include <random>
#include <set>

#include "base/error.h"
#include "experts/routing_source.h"
#include "experts/synthetic_routing.h"
#include "experts/trace_recorder.h"
#include "tests/engine/forced_logits.h"

namespace flashmoe::engine {
namespace {

using experts::kNoPick;
using experts::RoutingShape;
using experts::RoutingTrace;
using experts::TraceRecorder;
using experts::TraceStep;

constexpr size_t kPrompt = 40, kTokens = 48;

class RouteTapTest : public testing::TestWithParam<const char*> {
 protected:
  RouteTapTest() {
    options_.model = std::string(FLASHMOE_SOURCE_DIR) + "/tests/golden/models/" + GetParam();
    options_.backend = "ref";
    options_.context = 256;
    options_.chunk = 16;
    options_.threads = 2;
    std::mt19937 random(1);
    for (size_t i = 0; i < kTokens; ++i) ids_.push_back(static_cast<int32_t>(random() % 100));
    engine_ = Engine::open(options_);
    trace_.shape = engine_->routing_shape();
  }

  Logits logits(experts::RouteTap* tap) {
    engine_->set_route_tap(tap);
    Session session(*engine_);
    Logits logits;
    const std::span<const int32_t> ids(ids_);
    append_logits(*engine_, session, ids.first(kPrompt), 16, &logits);
    append_logits(*engine_, session, ids.subspan(kPrompt), 1, &logits);
    engine_->set_route_tap(nullptr);
    return logits;
  }
  TraceRecorder recorder(bool early) {
    return TraceRecorder(trace_.shape, early,
                         [this](const TraceStep& step) { trace_.steps.push_back(step); });
  }

  EngineOptions options_;
  std::vector<int32_t> ids_;
  std::unique_ptr<Engine> engine_;
  RoutingTrace trace_;
};

TEST_P(RouteTapTest, RecordingChangesNothing) {
  const Logits plain = logits(nullptr);
  TraceRecorder tap = recorder(true);
  EXPECT_TRUE(logits(&tap) == plain);
  ASSERT_EQ(trace_.steps.size(), 3u + 8u);
  EXPECT_EQ(trace_.rows(), static_cast<int64_t>(kTokens));
  for (const TraceStep& step : trace_.steps) {
    for (const uint16_t expert : step.picks) ASSERT_LT(expert, trace_.shape.experts);
  }
}

TEST_P(RouteTapTest, ARecordedRoutingPutBackGivesTheSameLogits) {
  TraceRecorder tap = recorder(false);
  const Logits plain = logits(&tap);
  experts::TraceRouting replay(trace_, trace_.shape, "trace");
  EXPECT_TRUE(logits(&replay) == plain);
  experts::UniformRouting uniform(trace_.shape, 1);
  EXPECT_FALSE(logits(&uniform) == plain);
}

TEST_P(RouteTapTest, ExpertsPutInPlaceAreThoseThatRun) {
  // Remembers what it put in place.
  class Uniform final : public experts::RouteTap {
   public:
    explicit Uniform(const RoutingShape& shape) : routing_(shape, 3) {}
    void begin_step(int64_t) override {}
    void on_routes(int layer, std::span<kernels::Route> routes, int k) override {
      routing_.on_routes(layer, routes, k);
      std::set<int32_t> distinct;
      for (const kernels::Route& route : routes) distinct.insert(route.expert);
      visits_ += std::ssize(distinct);
      for (const int32_t expert : distinct) used_.insert({layer, expert});
    }
    experts::UniformRouting routing_;
    int64_t visits_ = 0;
    std::set<std::pair<int, int32_t>> used_;
  } tap(trace_.shape);
  logits(&tap);
  const EngineStats stats = engine_->stats();
  EXPECT_EQ(stats.expert_hits + stats.expert_misses, tap.visits_);
  // All experts fit, so that each is read once.
  EXPECT_EQ(stats.expert_misses, std::ssize(tap.used_));
}

TEST_P(RouteTapTest, AStepThatFailsHasNoEnd) {
  TraceRecorder tap = recorder(true);
  engine_->set_route_tap(&tap);
  Session session(*engine_);
  int asked = 0;
  EXPECT_THROW(session.sync(std::span(ids_).first(16), [&] { return ++asked == 3; }), Error);
  EXPECT_TRUE(trace_.steps.empty());
  session.sync(std::span(ids_).first(16));
  ASSERT_EQ(trace_.steps.size(), 1u);
  EXPECT_EQ(trace_.steps[0].rows, 16);
}

// The residual stream of these small random models changes little from layer to layer, so that
// most guesses come true; those of another layer's or row's router would not.
TEST_P(RouteTapTest, GuessesALayerAhead) {
  TraceRecorder tap = recorder(true);
  logits(&tap);
  const RoutingShape& shape = trace_.shape;
  // Layers 0 and 2 of this model have experts, and layer 1 none.
  const bool gap = std::string(GetParam()) == "qwen3_moe_dense_layer_f32";
  int64_t found = 0, guessed = 0;
  for (const TraceStep& step : trace_.steps) {
    const int64_t width = step.rows * shape.k;
    for (int layer = 0; layer < shape.layers; ++layer) {
      for (int64_t row = 0; row < step.rows; ++row) {
        const auto early = step.early.begin() + layer * width + row * shape.k;
        const auto picks = step.picks.begin() + layer * width + row * shape.k;
        if (layer == 0) {
          EXPECT_EQ(std::count(early, early + shape.k, kNoPick), 0);
          continue;  // of the embeddings; how good that is depends on the first mixer
        }
        if (gap) {
          EXPECT_EQ(std::count(early, early + shape.k, kNoPick), shape.k);
          continue;
        }
        for (int i = 0; i < shape.k; ++i) {
          ++guessed;
          found += std::count(picks, picks + shape.k, early[i]);
        }
      }
    }
  }
  if (gap) return;
  const double chance = static_cast<double>(shape.k) / shape.experts;
  EXPECT_GT(static_cast<double>(found), 2 * chance * static_cast<double>(guessed));
}

INSTANTIATE_TEST_SUITE_P(Models, RouteTapTest,
                         testing::Values("qwen3_moe_dense_layer_f32", "mlx_qwen3_5_moe_4bit_bf16",
                                         "qwen3_next_split_bf16"),
                         [](const testing::TestParamInfo<const char*>& info) {
                           return std::string(info.param);
                         });

}  // namespace
}  // namespace flashmoe::engine
