#include "convert/synth_tensors.h"

#include <fmt/format.h>

#include <cmath>
#include <utility>

namespace flashmoe::convert {

namespace {

using model::Family;
using quant::DType;
using Kind = Distribution::Kind;

constexpr float kNormSpread = 0.05f;
constexpr float kLogitSpread = 3;

class Lister {
 public:
  Lister(const model::ModelConfig& config, bool multimodal, int whole_layers)
      : config_(config),
        prefix_(multimodal ? "model.language_model." : "model."),
        // Half of a layer adds about half of its input's size, over `whole_layers` twice.
        residual_gain_(std::sqrt(2.0f / static_cast<float>(whole_layers))) {}

  std::vector<SynthTensor> list() {
    const int64_t vocab = config_.vocab, hidden = config_.hidden;
    const float head_spread = kLogitSpread / std::sqrt(static_cast<float>(hidden));
    add(prefix_ + "embed_tokens.weight", {vocab, hidden},
        {Kind::kNormal, 0, config_.tied_embeddings ? head_spread : 1.0f});
    for (int i = 0; i < config_.layers; ++i) add_layer(i);
    add_norm(prefix_ + "norm", hidden);
    if (!config_.tied_embeddings) {
      add("lm_head.weight", {vocab, hidden}, {Kind::kNormal, 0, head_spread});
    }
    return std::move(tensors_);
  }

 private:
  void add(std::string name, std::vector<int64_t> shape, Distribution values,
           DType dtype = DType::kBf16) {
    tensors_.push_back({std::move(name), dtype, std::move(shape), values});
  }

  // The inputs are the last dimension.
  void add_matrix(std::string name, std::vector<int64_t> shape, float gain = 1) {
    const auto inputs = static_cast<float>(shape.back());
    add(std::move(name), std::move(shape), {Kind::kNormal, 0, gain / std::sqrt(inputs)});
  }

  void add_norm(const std::string& name, int64_t width) {
    add(name + ".weight", {width},
        {Kind::kNormal, config_.norm_plus_one ? 0.0f : 1.0f, kNormSpread});
  }

  void add_layer(int i) {
    const std::string base = fmt::format("{}layers.{}.", prefix_, i);
    add_norm(base + "input_layernorm", config_.hidden);
    if (config_.layer_kinds[static_cast<size_t>(i)] == model::LayerKind::kAttention) {
      add_attention(base + "self_attn.");
    } else {
      add_delta_net(base + "linear_attn.");
    }
    add_norm(base + "post_attention_layernorm", config_.hidden);
    if (config_.routed[static_cast<size_t>(i)]) {
      add_moe(base + "mlp.");
    } else {
      add_feed_forward(base + "mlp.", config_.dense_intermediate);
    }
  }

  void add_attention(const std::string& base) {
    const auto& a = config_.attention;
    const int64_t hidden = config_.hidden, dim = a.head_dim;
    add_matrix(base + "q_proj.weight", {a.heads * dim * (a.gated ? 2 : 1), hidden});
    add_matrix(base + "k_proj.weight", {a.kv_heads * dim, hidden});
    add_matrix(base + "v_proj.weight", {a.kv_heads * dim, hidden});
    add_matrix(base + "o_proj.weight", {hidden, a.heads * dim}, residual_gain_);
    add_norm(base + "q_norm", dim);
    add_norm(base + "k_norm", dim);
  }

  void add_delta_net(const std::string& base) {
    const auto& d = config_.delta;
    const int64_t hidden = config_.hidden, heads = d.value_heads;
    if (config_.family == Family::kQwen3Next) {
      add_matrix(base + "in_proj_qkvz.weight", {d.conv_channels() + d.value_width(), hidden});
      add_matrix(base + "in_proj_ba.weight", {2 * heads, hidden});
    } else {
      add_matrix(base + "in_proj_qkv.weight", {d.conv_channels(), hidden});
      add_matrix(base + "in_proj_z.weight", {d.value_width(), hidden});
      add_matrix(base + "in_proj_b.weight", {heads, hidden});
      add_matrix(base + "in_proj_a.weight", {heads, hidden});
    }
    add_matrix(base + "conv1d.weight", {d.conv_channels(), 1, d.conv_width});
    // 3.5 keeps the decay in full precision.
    add(base + "A_log", {heads}, {Kind::kDecay, 0, 0},
        config_.family == Family::kQwen35Moe ? DType::kF32 : DType::kBf16);
    add(base + "dt_bias", {heads}, {Kind::kTimeStep, 0, 0});
    add(base + "norm.weight", {d.value_dim}, {Kind::kNormal, 1, kNormSpread});  // never 1 + w
    add_matrix(base + "out_proj.weight", {hidden, d.value_width()}, residual_gain_);
  }

  void add_feed_forward(const std::string& base, int64_t inner) {
    add_matrix(base + "gate_proj.weight", {inner, config_.hidden});
    add_matrix(base + "up_proj.weight", {inner, config_.hidden});
    add_matrix(base + "down_proj.weight", {config_.hidden, inner}, residual_gain_);
  }

  void add_moe(const std::string& base) {
    const auto& moe = config_.moe;
    const int64_t hidden = config_.hidden, inner = moe.intermediate;
    add_matrix(base + "gate.weight", {moe.experts, hidden});
    if (config_.family == Family::kQwen35Moe) {
      add_matrix(base + "experts.gate_up_proj", {moe.experts, 2 * inner, hidden});
      add_matrix(base + "experts.down_proj", {moe.experts, hidden, inner}, residual_gain_);
    } else {
      for (int e = 0; e < moe.experts; ++e) {
        add_feed_forward(fmt::format("{}experts.{}.", base, e), inner);
      }
    }
    if (moe.shared_intermediate > 0) {
      add_feed_forward(base + "shared_expert.", moe.shared_intermediate);
      add_matrix(base + "shared_expert_gate.weight", {1, hidden});
    }
  }

  const model::ModelConfig& config_;
  const std::string prefix_;
  const float residual_gain_;
  std::vector<SynthTensor> tensors_;
};

}  // namespace

uint64_t SynthTensor::bytes() const {
  uint64_t bytes = quant::dtype_bytes(dtype);
  for (const int64_t size : shape) bytes *= static_cast<uint64_t>(size);
  return bytes;
}

std::vector<SynthTensor> published_tensors(const model::ModelConfig& config, bool multimodal,
                                           int whole_layers) {
  return Lister(config, multimodal, whole_layers).list();
}

}  // namespace flashmoe::convert
