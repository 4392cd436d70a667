#include "model/weights.h"

#include <cmath>
#include <utility>

#include "base/check.h"
#include "model/dense_loader.h"
#include "model/expert_tensors.h"
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

using format::MatrixInfo;

// Resolves one checkpoint, layer by layer.
class Resolver {
 public:
  Resolver(TensorFinder& finder, const ModelConfig& config, DenseLoader& loader, Weights& weights,
           experts::ExpertIndex& index)
      : finder_(finder),
        names_(finder.names()),
        config_(config),
        loader_(loader),
        weights_(weights),
        index_(index) {
    norms_lack_one_ = config_.norm_plus_one && !names_.norms_hold_one && !finder_.is_mlx();
  }

  void resolve() {
    const int64_t vocab = config_.vocab, hidden = config_.hidden;
    add(std::string(names_.embedding), vocab, hidden, &weights_.embedding);
    if (!config_.tied_embeddings) loader_.add_matrix(finder_.head(vocab, hidden), &weights_.head);
    weights_.final_norm = nullptr;
    add_norm(std::string(names_.final_norm), hidden, &weights_.final_norm);
    weights_.layers.resize(static_cast<size_t>(config_.layers));
    for (int i = 0; i < config_.layers; ++i) {
      LayerWeights& layer = weights_.layers[i];
      base_ = numbered(names_.layer, i);
      add_norm(in_layer(names_.mixer_norm), hidden, &layer.mixer_norm);
      add_norm(in_layer(names_.moe_norm), hidden, &layer.moe_norm);
      if (config_.layer_kinds[i] == LayerKind::kAttention) {
        resolve_attention(&layer.attention);
      } else {
        resolve_delta_net(&layer.delta);
      }
      if (config_.routed[i]) {
        resolve_moe(i, &layer);
      } else {
        resolve_feed_forward(names_.dense, config_.dense_intermediate, &layer.shared);
      }
    }
  }

 private:
  std::string in_layer(std::string_view name) const { return base_ + std::string(name); }
  bool layer_has(std::string_view name) const {
    return !name.empty() && finder_.has(in_layer(name));
  }

  void add(const std::string& name, int64_t rows, int64_t cols, kernels::Matrix* target) {
    loader_.add_matrix(finder_.matrix(name, rows, cols), target);
  }
  void add_norm(const std::string& name, int64_t width, const float** target) {
    loader_.add_vector(finder_.vector(name, {width}),
                       norms_lack_one_ ? Transform::kPlusOne : Transform::kNone, target);
  }

  void resolve_attention(AttentionWeights* w) {
    const auto& a = config_.attention;
    const auto& names = names_.attention;
    const int64_t hidden = config_.hidden, dim = a.head_dim;
    const int64_t q_rows = (a.gated ? 2 : 1) * a.heads * dim, kv_rows = a.kv_heads * dim;
    if (layer_has(names.qkv)) {
      const MatrixInfo all = finder_.matrix(in_layer(names.qkv), q_rows + 2 * kv_rows, hidden);
      add_queries(all, w);
      loader_.add_rows(all, {{q_rows, kv_rows}}, &w->k);
      loader_.add_rows(all, {{q_rows + kv_rows, kv_rows}}, &w->v);
    } else {
      add_queries(finder_.matrix(in_layer(names.q), q_rows, hidden), w);
      add(in_layer(names.k), kv_rows, hidden, &w->k);
      add(in_layer(names.v), kv_rows, hidden, &w->v);
    }
    add(in_layer(names.out), hidden, a.heads * dim, &w->out);
    add_norm(in_layer(names.q_norm), dim, &w->norms.q_norm);
    add_norm(in_layer(names.k_norm), dim, &w->norms.k_norm);
    if (inv_freq_ == nullptr) {
      loader_.add_computed(inv_freq(), &w->norms.inv_freq);
      inv_freq_ = &w->norms.inv_freq;
    } else {
      loader_.add_alias(inv_freq_, &w->norms.inv_freq);
    }
  }

  // From the first rows of `source`: with a gate, they are per head its query rows, then its gate
  // rows.
  void add_queries(const MatrixInfo& source, AttentionWeights* w) {
    const int64_t heads = config_.attention.heads, dim = config_.attention.head_dim;
    if (!config_.attention.gated) return loader_.add_rows(source, {{0, heads * dim}}, &w->q);
    std::vector<RowRun> query, gate;
    for (int64_t h = 0; h < heads; ++h) {
      query.push_back({2 * h * dim, dim});
      gate.push_back({(2 * h + 1) * dim, dim});
    }
    loader_.add_rows(source, std::move(query), &w->q);
    loader_.add_rows(source, std::move(gate), &w->gate);
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

  void resolve_delta_net(DeltaNetWeights* w) {
    const auto& d = config_.delta;
    const auto& names = names_.delta;
    const int64_t hidden = config_.hidden, value_width = d.value_width();
    const int64_t channels = d.conv_channels();
    if (layer_has(names.qkvz)) {
      resolve_qkvz(w);
    } else {
      add(in_layer(names.qkv), channels, hidden, &w->qkv);
      add(in_layer(names.z), value_width, hidden, &w->z);
    }
    if (layer_has(names.ba)) {
      resolve_ba(w);
    } else {
      add(in_layer(names.b), d.value_heads, hidden, &w->beta);
      add(in_layer(names.a), d.value_heads, hidden, &w->dt);
    }
    add(in_layer(names.out), hidden, value_width, &w->out);
    loader_.add_vector(finder_.vector(in_layer(names.conv), {channels, d.conv_width}),
                       Transform::kTranspose, &w->net.conv);
    loader_.add_vector(finder_.vector(in_layer(names.decay), {d.value_heads}),
                       names_.decay_is_log ? Transform::kNegativeExp : Transform::kNone,
                       &w->net.decay);
    loader_.add_vector(finder_.vector(in_layer(names.dt_bias), {d.value_heads}), Transform::kNone,
                       &w->net.dt_bias);
    loader_.add_vector(finder_.vector(in_layer(names.norm), {d.value_dim}), Transform::kNone,
                       &w->net.norm);
  }

  // For each key head [its q | its k | v of its value heads | z of its value heads].
  void resolve_qkvz(DeltaNetWeights* w) {
    const auto& d = config_.delta;
    const int64_t values = int64_t{d.value_heads / d.key_heads} * d.value_dim;
    const int64_t stride = 2 * d.key_dim + 2 * values;
    const MatrixInfo qkvz =
        finder_.matrix(in_layer(names_.delta.qkvz), d.key_heads * stride, config_.hidden);
    std::vector<RowRun> q, k, v, z;
    for (int64_t h = 0; h < d.key_heads; ++h) {
      q.push_back({h * stride, d.key_dim});
      k.push_back({h * stride + d.key_dim, d.key_dim});
      v.push_back({h * stride + 2 * d.key_dim, values});
      z.push_back({h * stride + 2 * d.key_dim + values, values});
    }
    q.insert(q.end(), k.begin(), k.end());
    q.insert(q.end(), v.begin(), v.end());
    loader_.add_rows(qkvz, std::move(q), &w->qkv);
    loader_.add_rows(qkvz, std::move(z), &w->z);
  }

  // For each key head [betas | alphas] of its value heads.
  void resolve_ba(DeltaNetWeights* w) {
    const auto& d = config_.delta;
    const int64_t per_key = d.value_heads / d.key_heads;
    const MatrixInfo ba =
        finder_.matrix(in_layer(names_.delta.ba), 2 * d.value_heads, config_.hidden);
    std::vector<RowRun> beta, dt;
    for (int64_t h = 0; h < d.key_heads; ++h) {
      beta.push_back({2 * h * per_key, per_key});
      dt.push_back({(2 * h + 1) * per_key, per_key});
    }
    loader_.add_rows(ba, std::move(beta), &w->beta);
    loader_.add_rows(ba, std::move(dt), &w->dt);
  }

  void resolve_feed_forward(const FeedForwardNames& names, int64_t intermediate,
                            kernels::FeedForward* w) {
    add(in_layer(names.gate), intermediate, config_.hidden, &w->gate);
    add(in_layer(names.up), intermediate, config_.hidden, &w->up);
    add(in_layer(names.down), config_.hidden, intermediate, &w->down);
  }

  void resolve_moe(int layer, LayerWeights* w) {
    add(in_layer(names_.router), config_.moe.experts, config_.hidden, &w->router);
    if (config_.moe.shared_intermediate > 0) {
      resolve_feed_forward(names_.shared, config_.moe.shared_intermediate, &w->shared);
      add(in_layer(names_.shared_gate), 1, config_.hidden, &w->shared_gate);
    }
    index_.set_layer(layer, resolve_experts(finder_, config_, layer));
  }

  TensorFinder& finder_;
  const TensorNames& names_;
  const ModelConfig& config_;
  DenseLoader& loader_;
  Weights& weights_;
  experts::ExpertIndex& index_;
  std::string base_;             // of the layer's names
  bool norms_lack_one_ = false;  // the file has w where the formula wants 1 + w
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
    layout_->embedding_bytes = source(layout_->weights->embedding)->file_bytes();
  }
}

WeightsPlan::~WeightsPlan() = default;

const Weights& WeightsPlan::shapes() const {
  CHECK(layout_->weights != nullptr);
  return *layout_->weights;
}

size_t WeightsPlan::prepared_bytes() const { return layout_->loader.prepared_bytes(); }
uint64_t WeightsPlan::file_bytes() const { return layout_->loader.file_bytes(); }
size_t WeightsPlan::staging_bytes() const {
  return kRowStagingBytes + layout_->loader.stored_bytes();
}
const format::MatrixInfo* WeightsPlan::source(const kernels::Matrix& matrix) const {
  return layout_->loader.source(matrix);
}
uint64_t WeightsPlan::token_file_bytes() const { return file_bytes() - layout_->embedding_bytes; }

std::unique_ptr<Weights> WeightsPlan::load(const format::ContentReader& files,
                                           kernels::Backend& backend,
                                           const LoadProgress& progress) {
  CHECK(layout_->weights != nullptr);
  Weights& weights = *layout_->weights;
  weights.memory = layout_->loader.load(files, backend, kRowStagingBytes, progress);
  if (!weights.head) weights.head = weights.embedding;
  return std::move(layout_->weights);
}

}  // namespace flashmoe::model
