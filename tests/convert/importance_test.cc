#include "convert/importance.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <set>

#include "base/error.h"
#include "convert/measure_importance.h"
#include "experts/input_tap.h"
#include "flashmoe/engine.h"
#include "tests/base/temp_folder.h"

namespace flashmoe::convert {
namespace {

constexpr const char* kTiny = FLASHMOE_SOURCE_DIR "/models/tiny";

std::unique_ptr<Engine> tiny(int threads, int64_t chunk) {
  EngineOptions options;
  options.model = kTiny;
  options.threads = threads;
  options.context = 32;
  options.chunk = chunk;
  options.exact = true;
  return Engine::open(options);
}

std::vector<int32_t> some_tokens() {
  std::vector<int32_t> tokens;
  for (int i = 0; i < 60; ++i) tokens.push_back((i * i * 31 + i * 7) % 4000);
  return tokens;
}

// Everything that goes by, to be added up in the test's own way.
class Recorder final : public experts::InputTap {
 public:
  void on_input(int layer, experts::DenseInput input, const float* x, int64_t rows,
                int64_t width) override {
    if (layer != 3 || input != experts::DenseInput::kMixerOut) return;
    for (int64_t r = 0; r < rows; ++r) mixer_out.emplace_back(x + r * width, x + (r + 1) * width);
  }
  void on_expert(int layer, int expert, const float*, int64_t, std::span<const int32_t> rows,
                 const float* inner, int64_t width) override {
    if (layer != 5) return;
    for (size_t i = 0; i < rows.size(); ++i, inner += width) {
      experts[expert].emplace_back(inner, inner + width);
    }
  }
  std::vector<std::vector<float>> mixer_out;
  std::map<int, std::vector<std::vector<float>>> experts;
};

TEST(ImportanceTest, IsTheMeanOfWhatGoesBy) {
  const auto engine = tiny(1, 16);
  const std::vector<int32_t> tokens = some_tokens();
  MeasureOptions options;
  options.window = 20;
  options.moments = true;
  int64_t told = 0;
  options.progress = [&](int64_t done) { told = done; };
  const Importance importance = measure_importance(*engine, kTiny, tokens, options);
  EXPECT_EQ(told, 60);

  Recorder recorder;
  engine->set_input_tap(&recorder);
  Session session(*engine);
  for (int i = 0; i < 60; i += 20) {
    session.clear();
    session.sync(std::span(tokens).subspan(static_cast<size_t>(i), 20));
  }
  engine->set_input_tap(nullptr);

  const auto check = [&](const InputStatistics& s, const std::vector<std::vector<float>>& rows) {
    const size_t n = s.squares.size();
    ASSERT_EQ(s.moments.size(), n * n);
    for (size_t i = 0; i < n; ++i) {
      for (const size_t j : {i, (i * 7 + 3) % n}) {
        double sum = 0;
        for (const auto& row : rows) sum += double{row[i]} * row[j];
        const double mean = sum / static_cast<double>(rows.size());
        EXPECT_NEAR(s.moments[i * n + j], mean, 1e-5 * (1 + std::fabs(mean)));
        if (i == j) {
          EXPECT_NEAR(s.squares[i], mean, 1e-5 * (1 + mean));
        }
      }
    }
  };
  ASSERT_EQ(recorder.mixer_out.size(), 60u);
  check(importance.find("model.layers.3.self_attn.o_proj", 0, 256, true), recorder.mixer_out);
  ASSERT_FALSE(recorder.experts.empty());
  int64_t picks = 0;
  for (const auto& [expert, rows] : recorder.experts) {
    check(importance.find("layers.5.mlp.switch_mlp.down_proj", expert, 128, true), rows);
    picks += static_cast<int64_t>(rows.size());
  }
  EXPECT_EQ(picks, 60 * 4);
  // The experts' own squares, with the moments of all tokens of the layer.
  const auto own = importance.find("layers.5.mlp.switch_mlp.up_proj", 0, 256, true);
  const auto all = importance.find("layers.5.mlp.gate", 0, 256, true);
  EXPECT_NE(own.squares.data(), all.squares.data());
  EXPECT_EQ(own.moments.data(), all.moments.data());
  EXPECT_TRUE(importance.find("model.embed_tokens", 0, 256, false).squares.empty());
  EXPECT_FALSE(importance.find("model.embed_tokens", 0, 256, true).squares.empty());

  uint64_t bytes = 0;
  for (const auto& [name, means] : importance.inputs()) {
    bytes += means.squares.size() * sizeof(double) + means.moments.size() * sizeof(float);
  }
  EXPECT_EQ(importance_bytes(kTiny, true), bytes);
}

TEST(ImportanceTest, ThreadsAndChunksDoNotShow) {
  TempFolder folder;
  std::set<std::string> files;
  for (const auto& [threads, chunk] : {std::pair{1, 16}, {3, 16}}) {
    MeasureOptions options;
    options.window = 32;
    options.moments = true;
    measure_importance(*tiny(threads, chunk), kTiny, some_tokens(), options).write(folder.file("i"));
    files.insert(folder.read("i"));
  }
  EXPECT_EQ(files.size(), 1u);
}

TEST(ImportanceTest, FilesComeBackAsTheyWere) {
  TempFolder folder;
  std::map<std::string, InputMeans> inputs = {
      {"layers.0.mixer", {1, 2, {5}, {1, 2}, {1, 0.5f, 0.5f, 2}}},
      {"layers.0.experts", {2, 2, {5, 0}, {1, 2, 0, 0}, {}}},
      {"layers.0.routed", {1, 2, {5}, {3, 4}, {}}}};
  Importance(inputs).write(folder.file("i"));
  const Importance read = Importance::read(folder.file("i"));
  for (const auto& [name, means] : inputs) {
    const InputMeans& other = read.inputs().at(name);
    EXPECT_EQ(other.rows, means.rows);
    EXPECT_EQ(other.squares, means.squares);
    EXPECT_EQ(other.moments, means.moments);
  }
  // An expert that saw nothing has what the layer has.
  EXPECT_EQ(read.find("layers.0.mlp.switch_mlp.up_proj", 1, 2, false).squares[0], 3);
  EXPECT_THROW(read.find("layers.0.mlp.switch_mlp.up_proj", 2, 2, false), Error);
  EXPECT_THROW(read.find("layers.0.mlp.gate", 0, 3, false), Error);
  EXPECT_THROW(read.find("layers.1.mlp.gate", 0, 2, false), Error);

  const auto refuses = [&](std::map<std::string, InputMeans> bad) {
    Importance(std::move(bad)).write(folder.file("bad"));
    EXPECT_THROW(Importance::read(folder.file("bad")), Error);
  };
  refuses({{"head", {1, 2, {5}, {}, {}}}});
  refuses({{"head", {1, 2, {}, {1, 2}, {}}}});
  refuses({{"head", {1, 1, {1}, {std::numeric_limits<float>::infinity()}, {}}}});
  refuses({});
}

}  // namespace
}  // namespace flashmoe::convert
