#include "model/weights.h"

#include <fmt/format.h>

#include <cmath>
#include <utility>

#include "base/check.h"
#include "base/error.h"
#include "model/dense_loader.h"
#include "model/tensor_finder.h"

namespace flashmoe::model {

// The weights with all pointers unset, and what to load into them.
struct WeightsPlan::Layout {
  std::unique_ptr<Weights> weights = std::make_unique<Weights>();
  DenseLoader loader;
  uint64_t embedding_bytes = 0;  // in the file, when only single rows of it are read

  explicit Layout(const kernels::Backend& backend) : loader(backend) {}
};

namespace {

using format::Extent;
using format::MatrixInfo;

// Resolves one checkpoint, layer by layer. The tensors' names are those of Hugging Face
// transformers and mlx-lm; docs/architecture.md lists the differences between the two.
class Resolver {
 public:
  Resolver(TensorFinder& finder, const ModelConfig& config, DenseLoader& loader, Weights& weights,
           experts::ExpertIndex& index)
      : finder_(finder), config_(config), loader_(loader), weights_(weights), index_(index) {
    norms_hold_one_ = config.norm_plus_one && !stored_plus_one();
  }

  void resolve() {
    const int64_t vocab = config_.vocab, hidden = config_.hidden;
    add("embed_tokens", vocab, hidden, &weights_.embedding);
    if (!config_.tied_embeddings) loader_.add_matrix(finder_.head(vocab, hidden), &weights_.head);
    weights_.final_norm = nullptr;
    add_norm("norm", hidden, &weights_.final_norm);
    weights_.layers.resize(static_cast<size_t>(config_.layers));
    for (int i = 0; i < config_.layers; ++i) {
      LayerWeights& layer = weights_.layers[i];
      const std::string base = fmt::format("layers.{}.", i);
      add_norm(base + "input_layernorm", hidden, &layer.mixer_norm);
      add_norm(base + "post_attention_layernorm", hidden, &layer.moe_norm);
      if (config_.layer_kinds[i] == LayerKind::kAttention) {
        resolve_attention(base + "self_attn.", &layer.attention);
      } else {
        resolve_delta_net(base + "linear_attn.", &layer.delta);
      }
      if (config_.routed[i]) {
        resolve_moe(i, base + "mlp.", &layer);
      } else {
        resolve_feed_forward(base + "mlp.", config_.dense_intermediate, &layer.shared);
      }
    }
  }

 private:
  // MLX stores 1 + w for these norms, Hugging Face w. MLX also moves the convolution's axes, in
  // the same conversion, which tells the two apart; without a convolution the names of the
  // experts do.
  bool stored_plus_one() const {
    for (int i = 0; i < config_.layers; ++i) {
      const std::string base = fmt::format("layers.{}.", i);
      if (const format::TensorInfo* conv = finder_.find(base + "linear_attn.conv1d.weight")) {
        return conv->shape.size() == 3 && conv->shape[2] == 1;
      }
    }
    return finder_.has("layers.0.mlp.switch_mlp.gate_proj");
  }

  void add(const std::string& name, int64_t rows, int64_t cols, kernels::Matrix* target) {
    loader_.add_matrix(finder_.matrix(name, rows, cols), target);
  }
  void add_norm(const std::string& name, int64_t width, const float** target) {
    loader_.add_vector(finder_.vector(name + ".weight", {width}),
                       norms_hold_one_ ? Transform::kPlusOne : Transform::kNone, target);
  }

  void resolve_attention(const std::string& base, AttentionWeights* w) {
    const auto& a = config_.attention;
    const int64_t hidden = config_.hidden, dim = a.head_dim;
    if (a.gated) {
      // Per head: its query rows, then its gate rows.
      const MatrixInfo both = finder_.matrix(base + "q_proj", 2 * a.heads * dim, hidden);
      std::vector<RowRun> query, gate;
      for (int h = 0; h < a.heads; ++h) {
        query.push_back({2 * h * dim, dim});
        gate.push_back({(2 * h + 1) * dim, dim});
      }
      loader_.add_rows(both, std::move(query), &w->q);
      loader_.add_rows(both, std::move(gate), &w->gate);
    } else {
      add(base + "q_proj", a.heads * dim, hidden, &w->q);
    }
    add(base + "k_proj", a.kv_heads * dim, hidden, &w->k);
    add(base + "v_proj", a.kv_heads * dim, hidden, &w->v);
    add(base + "o_proj", hidden, a.heads * dim, &w->out);
    add_norm(base + "q_norm", dim, &w->norms.q_norm);
    add_norm(base + "k_norm", dim, &w->norms.k_norm);
    if (inv_freq_ == nullptr) {
      loader_.add_computed(inv_freq(), &w->norms.inv_freq);
      inv_freq_ = &w->norms.inv_freq;
    } else {
      loader_.add_alias(inv_freq_, &w->norms.inv_freq);
    }
  }

  // theta^(-2i/n), in float32 as transformers has it.
  std::vector<float> inv_freq() const {
    const int n = config_.attention.rotary_dim;
    std::vector<float> result;
    for (int i = 0; i < n; i += 2) {
      const float exponent = static_cast<float>(i) / static_cast<float>(n);
      result.push_back(1.0f / std::pow(static_cast<float>(config_.attention.rope_theta), exponent));
    }
    return result;
  }

  void resolve_delta_net(const std::string& base, DeltaNetWeights* w) {
    const auto& d = config_.delta;
    const int64_t hidden = config_.hidden;
    const int64_t key_width = int64_t{d.key_heads} * d.key_dim;
    const int64_t value_width = int64_t{d.value_heads} * d.value_dim;
    const int64_t channels = 2 * key_width + value_width;
    if (finder_.has(base + "in_proj_qkvz")) {
      resolve_interleaved(base, w);
    } else {
      add(base + "in_proj_qkv", channels, hidden, &w->qkv);
      add(base + "in_proj_z", value_width, hidden, &w->z);
      add(base + "in_proj_b", d.value_heads, hidden, &w->beta);
      add(base + "in_proj_a", d.value_heads, hidden, &w->dt);
    }
    add(base + "out_proj", hidden, value_width, &w->out);
    // [channels, 1, width] or, from MLX, [channels, width, 1]: the same order of floats.
    const format::TensorInfo* conv = finder_.find(base + "conv1d.weight");
    const bool mlx = conv != nullptr && conv->shape.size() == 3 && conv->shape[2] == 1;
    const std::vector<int64_t> shape = mlx ? std::vector<int64_t>{channels, d.conv_width, 1}
                                           : std::vector<int64_t>{channels, 1, d.conv_width};
    loader_.add_vector(finder_.vector(base + "conv1d.weight", shape), Transform::kTranspose,
                       &w->net.conv);
    loader_.add_vector(finder_.vector(base + "A_log", {d.value_heads}), Transform::kNegativeExp,
                       &w->net.decay);
    loader_.add_vector(finder_.vector(base + "dt_bias", {d.value_heads}), Transform::kNone,
                       &w->net.dt_bias);
    loader_.add_vector(finder_.vector(base + "norm.weight", {d.value_dim}), Transform::kNone,
                       &w->net.norm);
  }

  // qwen3_next: for each key head [its q | its k | v of its value heads | z of its value heads],
  // and [betas | alphas] of its value heads.
  void resolve_interleaved(const std::string& base, DeltaNetWeights* w) {
    const auto& d = config_.delta;
    const int64_t per_key = d.value_heads / d.key_heads, values = per_key * d.value_dim;
    const int64_t stride = 2 * d.key_dim + 2 * values;
    const MatrixInfo qkvz =
        finder_.matrix(base + "in_proj_qkvz", d.key_heads * stride, config_.hidden);
    std::vector<RowRun> q, k, v, z, beta, dt;
    for (int64_t h = 0; h < d.key_heads; ++h) {
      q.push_back({h * stride, d.key_dim});
      k.push_back({h * stride + d.key_dim, d.key_dim});
      v.push_back({h * stride + 2 * d.key_dim, values});
      z.push_back({h * stride + 2 * d.key_dim + values, values});
      beta.push_back({2 * h * per_key, per_key});
      dt.push_back({(2 * h + 1) * per_key, per_key});
    }
    q.insert(q.end(), k.begin(), k.end());
    q.insert(q.end(), v.begin(), v.end());
    loader_.add_rows(qkvz, std::move(q), &w->qkv);
    loader_.add_rows(qkvz, std::move(z), &w->z);
    const MatrixInfo ba = finder_.matrix(base + "in_proj_ba", 2 * d.value_heads, config_.hidden);
    loader_.add_rows(ba, std::move(beta), &w->beta);
    loader_.add_rows(ba, std::move(dt), &w->dt);
  }

  void resolve_feed_forward(const std::string& base, int64_t intermediate,
                            kernels::FeedForward* w) {
    add(base + "gate_proj", intermediate, config_.hidden, &w->gate);
    add(base + "up_proj", intermediate, config_.hidden, &w->up);
    add(base + "down_proj", config_.hidden, intermediate, &w->down);
  }

  void resolve_moe(int layer, const std::string& base, LayerWeights* w) {
    add(base + "gate", config_.moe.experts, config_.hidden, &w->router);
    if (config_.moe.shared_intermediate > 0) {
      resolve_feed_forward(base + "shared_expert.", config_.moe.shared_intermediate, &w->shared);
      add(base + "shared_expert_gate", 1, config_.hidden, &w->shared_gate);
    }
    resolve_experts(layer, base);
  }

  // Rows [first, first + rows) of matrix `which` of a stack, as expert parts.
  static void set_parts(const MatrixInfo& info, int64_t which, int64_t first, int64_t rows,
                        Extent* parts) {
    const size_t row_bytes[3] = {info.format.code_bytes(info.cols),
                                 info.format.scale_bytes(info.cols),
                                 info.format.scale_bytes(info.cols)};
    const Extent* whole[3] = {&info.codes, &info.scales, &info.biases};
    for (int p = 0; p < 3; ++p) {
      if (row_bytes[p] == 0) continue;
      const uint64_t stride =
          info.stride > 0 ? info.stride : static_cast<uint64_t>(info.rows) * row_bytes[p];
      parts[p] = {whole[p]->file,
                  whole[p]->offset + static_cast<uint64_t>(which) * stride +
                      static_cast<uint64_t>(first) * row_bytes[p],
                  static_cast<uint64_t>(rows) * row_bytes[p]};
    }
  }

  void resolve_experts(int layer, const std::string& base) {
    const int64_t experts = config_.moe.experts;
    const int64_t hidden = config_.hidden, inner = config_.moe.intermediate;
    experts::ExpertIndex::Layer l;
    l.hidden = hidden;
    l.intermediate = inner;
    l.parts.resize(static_cast<size_t>(experts));
    const bool fused = finder_.has(base + "experts.gate_up_proj");
    const bool stacked = finder_.has(base + "switch_mlp.gate_proj");
    if (fused) {  // gate rows, then up rows
      const MatrixInfo gate_up =
          finder_.matrix(base + "experts.gate_up_proj", 2 * inner, hidden, experts);
      const MatrixInfo down = finder_.matrix(base + "experts.down_proj", hidden, inner, experts);
      l.gate = l.up = gate_up.format;
      l.down = down.format;
      for (int64_t e = 0; e < experts; ++e) {
        set_parts(gate_up, e, 0, inner, &l.parts[e][0]);
        set_parts(gate_up, e, inner, inner, &l.parts[e][3]);
        set_parts(down, e, 0, hidden, &l.parts[e][6]);
      }
    } else if (stacked) {
      const MatrixInfo gate = finder_.matrix(base + "switch_mlp.gate_proj", inner, hidden, experts);
      const MatrixInfo up = finder_.matrix(base + "switch_mlp.up_proj", inner, hidden, experts);
      const MatrixInfo down = finder_.matrix(base + "switch_mlp.down_proj", hidden, inner, experts);
      l.gate = gate.format;
      l.up = up.format;
      l.down = down.format;
      for (int64_t e = 0; e < experts; ++e) {
        set_parts(gate, e, 0, inner, &l.parts[e][0]);
        set_parts(up, e, 0, inner, &l.parts[e][3]);
        set_parts(down, e, 0, hidden, &l.parts[e][6]);
      }
    } else {
      for (int64_t e = 0; e < experts; ++e) {
        const std::string expert = fmt::format("{}experts.{}.", base, e);
        const MatrixInfo gate = finder_.matrix(expert + "gate_proj", inner, hidden);
        const MatrixInfo up = finder_.matrix(expert + "up_proj", inner, hidden);
        const MatrixInfo down = finder_.matrix(expert + "down_proj", hidden, inner);
        if (e == 0) {
          l.gate = gate.format;
          l.up = up.format;
          l.down = down.format;
        } else if (l.gate != gate.format || l.up != up.format || l.down != down.format) {
          throw_error(ErrorCode::kUnsupported,
                      "{}: expert {} of layer {} is stored in another format than expert 0",
                      finder_.checkpoint_path(), e, layer);
        }
        set_parts(gate, 0, 0, inner, &l.parts[e][0]);
        set_parts(up, 0, 0, inner, &l.parts[e][3]);
        set_parts(down, 0, 0, hidden, &l.parts[e][6]);
      }
    }
    index_.set_layer(layer, std::move(l));
  }

  TensorFinder& finder_;
  const ModelConfig& config_;
  DenseLoader& loader_;
  Weights& weights_;
  experts::ExpertIndex& index_;
  bool norms_hold_one_ = false;  // the file has w where the formula wants 1 + w
  const float* const* inv_freq_ = nullptr;
};

}  // namespace

WeightsPlan::WeightsPlan(const format::Checkpoint& checkpoint, const ModelConfig& config,
                         const kernels::Backend& backend)
    : layout_(std::make_unique<Layout>(backend)),
      expert_index_(std::make_unique<experts::ExpertIndex>(config.layers, config.moe.experts)) {
  TensorFinder finder(checkpoint, config);
  Resolver(finder, config, layout_->loader, *layout_->weights, *expert_index_).resolve();
  unused_ = finder.unused();
  if (!config.tied_embeddings) {
    const kernels::Matrix& table = layout_->weights->embedding;
    layout_->embedding_bytes =
        table.format.row_bytes(table.cols) * static_cast<uint64_t>(table.rows);
  }
}

WeightsPlan::~WeightsPlan() = default;

const Weights& WeightsPlan::shapes() const {
  CHECK(layout_->weights != nullptr);
  return *layout_->weights;
}

size_t WeightsPlan::prepared_bytes() const { return layout_->loader.prepared_bytes(); }
uint64_t WeightsPlan::file_bytes() const { return layout_->loader.file_bytes(); }
uint64_t WeightsPlan::token_file_bytes() const { return file_bytes() - layout_->embedding_bytes; }

std::unique_ptr<Weights> WeightsPlan::load(const format::ContentReader& files,
                                           kernels::Backend& backend,
                                           const LoadProgress& progress) {
  CHECK(layout_->weights != nullptr);
  Weights& weights = *layout_->weights;
  weights.memory = layout_->loader.load(files, backend, kStagingBytes, progress);
  if (!weights.head) weights.head = weights.embedding;
  return std::move(layout_->weights);
}

}  // namespace flashmoe::model
