// The forward pass of the Qwen MoE families. Owns the activations of one step; borrows weights,
// backend and expert runner. Knows nothing of text or sampling.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "base/aligned_buffer.h"
#include "experts/input_tap.h"
#include "experts/moe_runner.h"
#include "experts/route_tap.h"
#include "kernels/backend.h"
#include "model/config.h"
#include "model/state.h"
#include "model/weights.h"

namespace flashmoe::model {

// Consecutive tokens of one sequence, going on where its state ends.
struct Segment {
  State* state = nullptr;
  std::span<const int32_t> tokens;  // ids below config.vocab
};

// Where the time of all steps went, in seconds. The experts' part is in MoeStats.
struct StageTimes {
  double dense_s = 0;      // norms, projections, shared experts, head
  double attention_s = 0;  // with the key-value cache
  double delta_net_s = 0;
  double router_s = 0;
};

class Model {
 public:
  // Steps have at most `max_rows` tokens in all. What is passed must outlive the model.
  Model(const ModelConfig& config, const StateShape& state_shape, const Weights& weights,
        kernels::Backend& backend, experts::MoeRunner& runner, int64_t max_rows);

  // Bytes of activations for steps of `max_rows` tokens.
  static size_t activation_bytes(const ModelConfig& config, int64_t max_rows);

  // Runs all segments' tokens through the model, as one step, and commits every state. When it
  // throws (a read failed, no page left, `stop` answered true between two layers: kCancelled), all
  // states are as before.
  void forward(std::span<const Segment> segments, const std::function<bool()>& stop = {});

  // logits [rows.size(), vocab] of the given rows of the last step; rows count through its
  // segments' tokens in order. At most kHeadRows at once.
  static constexpr int64_t kHeadRows = 16;
  void head(std::span<const int32_t> rows, float* logits);

  // Who sees the routes of the steps from now on; nullptr: nobody. It must outlive its use.
  void set_route_tap(experts::RouteTap* tap) { tap_ = tap; }
  // The same for the inputs of matrix products.
  void set_input_tap(experts::InputTap* tap) {
    input_tap_ = tap;
    runner_.set_input_tap(tap);
  }

  const ModelConfig& config() const { return config_; }
  int64_t max_rows() const { return max_rows_; }
  const StageTimes& times() const { return times_; }

 private:
  // Named pieces of one buffer, each [max_rows, …] floats.
  struct Activations {
    float *x, *normed, *mixed;   // [hidden] each: residual stream, input and output of a part
    float *q, *gate, *k, *v;     // attention
    float *qkv, *z, *beta, *dt;  // delta net
    float* heads;                // [query or value width]: output of either, before `out`
    float *router, *shared, *shared_gate, *experts;
    float* head_rows;  // [kHeadRows, hidden]
  };
  // Lays the pieces out from `base` (nullptr: only measures); returns the bytes they take.
  static size_t lay_out(const ModelConfig& config, int64_t max_rows, std::byte* base,
                        Activations* a);

  void attention(int layer, std::span<const Segment> segments);
  void delta_net(int layer, std::span<const Segment> segments);
  void moe(int layer);
  void guess_routes(int layer);  // tells tap and runner, if they want, a guess at its routes
  // The shared expert, or a dense layer, for all rows.
  kernels::FeedForwardJob dense_network(int layer, float* y);
  void show(int layer, experts::DenseInput input, const float* x, int64_t width);

  const ModelConfig& config_;
  kernels::AttentionShape attention_shape_;
  kernels::DeltaNetShape delta_shape_;
  const Weights& weights_;
  kernels::Backend& backend_;
  experts::MoeRunner& runner_;
  int64_t max_rows_;
  std::vector<int> kind_index_;    // layer -> how many layers of its kind come before it
  std::vector<int> routed_index_;  // layer -> how many layers with experts come before it
  experts::RouteTap* tap_ = nullptr;
  experts::InputTap* input_tap_ = nullptr;
  std::vector<float> inner_;  // of the shared expert, for the tap

  AlignedBuffer memory_;
  Activations a_;
  std::vector<kernels::Route> routes_, early_routes_;
  std::vector<int32_t> ids_, all_rows_;
  std::vector<int32_t> ages_;  // of each row: how many of its sequence follow in the step
  int64_t rows_ = 0;           // of the step at hand or last run
  std::vector<kernels::AttentionSegment> attention_segments_;
  std::vector<kernels::DeltaNetSegment> delta_segments_;
  StageTimes times_;
};

}  // namespace flashmoe::model
