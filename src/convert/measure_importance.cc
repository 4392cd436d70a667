#include "convert/measure_importance.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <string>
#include <utility>

#include "base/thread_pool.h"
#include "convert/mlx_tensors.h"
#include "experts/input_tap.h"
#include "experts/route_tap.h"
#include "model/checkpoint_config.h"

namespace flashmoe::convert {

namespace {

using experts::DenseInput;

// The sums of one input; of each expert where there are several.
struct Sums {
  int64_t count = 0, cols = 0;
  std::vector<double> rows;
  std::vector<double> squares;  // [count, cols]
  std::vector<float> moments;   // [count, cols, cols], of which [i, j <= i] is used

  InputMeans means() const {
    InputMeans result{count, cols, {}, {}, std::vector<float>(moments.size())};
    for (int64_t n = 0; n < count; ++n) {
      const double total = std::max(rows[static_cast<size_t>(n)], 1.0);
      result.rows.push_back(static_cast<float>(rows[static_cast<size_t>(n)]));
      for (int64_t i = 0; i < cols; ++i) {
        result.squares.push_back(
            static_cast<float>(squares[static_cast<size_t>(n * cols + i)] / total));
      }
      if (moments.empty()) continue;
      const float* from = moments.data() + n * cols * cols;
      float* to = result.moments.data() + n * cols * cols;
      for (int64_t i = 0; i < cols; ++i) {
        for (int64_t j = 0; j <= i; ++j) {
          const auto mean = static_cast<float>(from[i * cols + j] / total);
          to[i * cols + j] = to[j * cols + i] = mean;
        }
      }
    }
    return result;
  }
};

// The delta net's output matrices, from the checkpoint's order of value heads to transformers'.
void reorder_value_heads(const model::ModelConfig& config,
                         std::map<std::string, InputMeans>* inputs) {
  const auto& d = config.delta;
  if (!d.tiled) return;
  std::vector<size_t> from;
  for (int64_t head = 0; head < d.value_heads; ++head) {
    for (int64_t i = 0; i < d.value_dim; ++i) {
      from.push_back(static_cast<size_t>(stored_value_head(config, head) * d.value_dim + i));
    }
  }
  for (int layer = 0; layer < config.layers; ++layer) {
    const auto found = inputs->find(fmt::format("layers.{}.mixer_out", layer));
    if (config.layer_kinds[static_cast<size_t>(layer)] != model::LayerKind::kDeltaNet ||
        found == inputs->end()) {
      continue;
    }
    const InputMeans stored = found->second;
    const size_t n = from.size();
    for (size_t i = 0; i < n; ++i) {
      found->second.squares[i] = stored.squares[from[i]];
      for (size_t j = 0; j < n && !stored.moments.empty(); ++j) {
        found->second.moments[i * n + j] = stored.moments[from[i] * n + from[j]];
      }
    }
  }
}

class Collector final : public experts::InputTap {
 public:
  Collector(Engine& engine, bool moments)
      : experts_(engine.routing_shape().experts), moments_(moments), pool_(engine.threads()) {}

  void on_input(int layer, DenseInput input, const float* x, int64_t rows, int64_t width) override {
    rows_.clear();
    for (int64_t r = 0; r < rows; ++r) rows_.push_back(x + r * width);
    add(sums(name(layer, input), 1, width), 0, moments_);
  }

  void on_expert(int layer, int expert, const float* x, int64_t hidden,
                 std::span<const int32_t> rows, const float* inner, int64_t intermediate) override {
    rows_.clear();
    for (const int32_t row : rows) rows_.push_back(x + row * hidden);
    add(sums(fmt::format("layers.{}.experts", layer), experts_, hidden, false), expert, false);
    rows_.clear();
    for (size_t i = 0; i < rows.size(); ++i) {
      rows_.push_back(inner + static_cast<int64_t>(i) * intermediate);
    }
    add(sums(fmt::format("layers.{}.experts_down", layer), experts_, intermediate), expert,
        moments_);
  }

  Importance finish(const model::ModelConfig& config) const {
    std::map<std::string, InputMeans> inputs;
    for (const auto& [name, sums] : sums_) inputs[name] = sums.means();
    reorder_value_heads(config, &inputs);
    return Importance(std::move(inputs));
  }

 private:
  static std::string name(int layer, DenseInput input) {
    switch (input) {
      case DenseInput::kMixer:
        return fmt::format("layers.{}.mixer", layer);
      case DenseInput::kMixerOut:
        return fmt::format("layers.{}.mixer_out", layer);
      case DenseInput::kRouted:
        return fmt::format("layers.{}.routed", layer);
      case DenseInput::kDown:
        return fmt::format("layers.{}.down", layer);
      case DenseInput::kHead:
        break;
    }
    return "head";
  }

  Sums& sums(const std::string& name, int64_t count, int64_t cols, bool with_moments = true) {
    Sums& s = sums_[name];
    if (s.count == 0) {
      s.count = count;
      s.cols = cols;
      s.rows.resize(static_cast<size_t>(count));
      s.squares.resize(static_cast<size_t>(count * cols));
      if (moments_ && with_moments) s.moments.resize(static_cast<size_t>(count * cols * cols));
    }
    return s;
  }

  // rows_ to member `which`. Threads split columns, and each adds in the order of the rows.
  void add(Sums& s, int64_t which, bool moments) {
    constexpr int64_t kColsPerTask = 16;
    const int64_t cols = s.cols;
    s.rows[static_cast<size_t>(which)] += static_cast<double>(rows_.size());
    double* squares = s.squares.data() + which * cols;
    float* products = moments ? s.moments.data() + which * cols * cols : nullptr;
    pool_.run(static_cast<int>((cols + kColsPerTask - 1) / kColsPerTask), [&](int task) noexcept {
      const int64_t begin = task * kColsPerTask, end = std::min(cols, begin + kColsPerTask);
      for (const float* x : rows_) {
        for (int64_t i = begin; i < end; ++i) squares[i] += double{x[i]} * x[i];
        if (products == nullptr) continue;
        for (int64_t i = begin; i < end; ++i) {
          float* row = products + i * cols;
          for (int64_t j = 0; j <= i; ++j) row[j] += x[i] * x[j];
        }
      }
    });
  }

  const int64_t experts_;
  const bool moments_;
  ThreadPool pool_;
  std::map<std::string, Sums> sums_;
  std::vector<const float*> rows_;
};

}  // namespace

uint64_t importance_bytes(const std::string& folder, bool moments) {
  const model::ModelConfig c = model::read_model_config(*format::Checkpoint::open(folder));
  uint64_t bytes = 0;
  const auto add = [&](int64_t count, int64_t cols, bool with_moments) {
    bytes += static_cast<uint64_t>(count * cols) * sizeof(double);
    if (moments && with_moments)
      bytes += static_cast<uint64_t>(count * cols * cols) * sizeof(float);
  };
  add(1, c.hidden, true);
  for (int i = 0; i < c.layers; ++i) {
    const bool attention = c.layer_kinds[static_cast<size_t>(i)] == model::LayerKind::kAttention;
    add(2, c.hidden, true);
    add(1,
        attention ? int64_t{c.attention.heads} * c.attention.head_dim
                  : int64_t{c.delta.value_heads} * c.delta.value_dim,
        true);
    if (c.routed[static_cast<size_t>(i)]) {
      add(c.moe.experts, c.hidden, false);
      add(c.moe.experts, c.moe.intermediate, true);
      if (c.moe.shared_intermediate > 0) add(1, c.moe.shared_intermediate, true);
    } else {
      add(1, c.dense_intermediate, true);
    }
  }
  return bytes;
}

Importance measure_importance(Engine& engine, const std::string& folder,
                              std::span<const int32_t> tokens, const MeasureOptions& options) {
  Collector collector(engine, options.moments);
  engine.set_input_tap(&collector);
  struct Untap {
    Engine& engine;
    ~Untap() { engine.set_input_tap(nullptr); }
  } const untap{engine};
  int64_t done = 0;
  for (size_t begin = 0; begin < tokens.size(); begin += static_cast<size_t>(options.window)) {
    const auto window =
        tokens.subspan(begin, std::min(tokens.size() - begin, static_cast<size_t>(options.window)));
    Session session(engine);
    for (size_t at = 0; at < window.size(); at += static_cast<size_t>(engine.chunk())) {
      const size_t rows = std::min(window.size() - at, static_cast<size_t>(engine.chunk()));
      const Engine::StepItem item{&session, window.subspan(at, rows), false};
      engine.step({&item, 1}, options.stop);
      done += static_cast<int64_t>(rows);
      if (options.progress) options.progress(done);
    }
  }
  return collector.finish(model::read_model_config(*format::Checkpoint::open(folder)));
}

}  // namespace flashmoe::convert
