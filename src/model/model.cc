#include "model/model.h"

#include <algorithm>
#include <numeric>

#include "base/check.h"
#include "base/error.h"
#include "base/timer.h"

namespace flashmoe::model {

using kernels::Precision;

Model::Model(const ModelConfig& config, const StateShape& state_shape, const Weights& weights,
             kernels::Backend& backend, experts::MoeRunner& runner, int64_t max_rows)
    : config_(config),
      attention_shape_(state_shape.attention),
      delta_shape_(state_shape.delta),
      weights_(weights),
      backend_(backend),
      runner_(runner),
      max_rows_(max_rows),
      memory_(activation_bytes(config, max_rows)),
      routes_(static_cast<size_t>(max_rows) * std::max(1, config.moe.experts_per_token)),
      all_rows_(static_cast<size_t>(max_rows)) {
  lay_out(config, max_rows, memory_.data(), &a_);
  std::iota(all_rows_.begin(), all_rows_.end(), 0);
  int attention_layers = 0, delta_layers = 0, routed_layers = 0;
  for (int i = 0; i < config.layers; ++i) {
    kind_index_.push_back(config.layer_kinds[i] == LayerKind::kAttention ? attention_layers++
                                                                         : delta_layers++);
    routed_index_.push_back(config.routed[i] ? routed_layers++ : routed_layers);
  }
}

size_t Model::activation_bytes(const ModelConfig& config, int64_t max_rows) {
  Activations unused;
  return lay_out(config, max_rows, nullptr, &unused);
}

size_t Model::lay_out(const ModelConfig& config, int64_t max_rows, std::byte* base,
                      Activations* a) {
  size_t offset = 0;
  const auto take = [&](int64_t width, int64_t rows) {
    float* place = base == nullptr ? nullptr : reinterpret_cast<float*>(base + offset);
    offset += (static_cast<size_t>(width * rows) * sizeof(float) + 63) / 64 * 64;
    return place;
  };
  const StateShape shape(config, kernels::KvType::kF32);
  const int64_t n = max_rows, hidden = config.hidden;
  a->x = take(hidden, n);
  a->normed = take(hidden, n);
  a->mixed = take(hidden, n);
  // Only one kind of mixer works at a time: attention and delta net share their place.
  const size_t mixer = offset;
  a->q = take(shape.attention.query_width(), n);
  a->gate = take(shape.attention.query_width(), n);
  a->k = take(shape.attention.kv_width(), n);
  a->v = take(shape.attention.kv_width(), n);
  const size_t attention_end = offset;
  offset = mixer;
  a->qkv = take(shape.delta.channels(), n);
  a->z = take(shape.delta.value_width(), n);
  a->beta = take(shape.delta.value_heads, n);
  a->dt = take(shape.delta.value_heads, n);
  offset = std::max(offset, attention_end);
  a->heads = take(std::max(shape.attention.query_width(), shape.delta.value_width()), n);
  a->router = take(config.moe.experts, n);
  a->shared = take(hidden, n);
  a->shared_gate = take(1, n);
  a->experts = take(hidden, n * config.moe.experts_per_token);
  a->head_rows = take(hidden, kHeadRows);
  return offset;
}

void Model::forward(std::span<const Segment> segments, const std::function<bool()>& stop) {
  ids_.clear();
  ages_.clear();
  for (const Segment& s : segments) {
    s.state->reserve(static_cast<int64_t>(s.tokens.size()));
    ids_.insert(ids_.end(), s.tokens.begin(), s.tokens.end());
    for (size_t left = s.tokens.size(); left-- > 0;) ages_.push_back(static_cast<int32_t>(left));
  }
  rows_ = static_cast<int64_t>(ids_.size());
  CHECK(rows_ > 0 && rows_ <= max_rows_);
  const int64_t hidden = config_.hidden;

  runner_.begin_step(ages_);
  if (tap_ != nullptr) tap_->begin_step(rows_);
  try {
    backend_.embed(weights_.embedding, ids_, a_.x);
    guess_routes(0);
    for (int i = 0; i < config_.layers; ++i) {
      if (stop && stop()) {
        throw Error(ErrorCode::kCancelled, "stopped");
      }
      const LayerWeights& layer = weights_.layers[i];
      backend_.rms_norm(a_.x, layer.mixer_norm, rows_, hidden, config_.rms_eps, a_.normed);
      show(i, experts::DenseInput::kMixer, a_.normed, hidden);
      if (config_.layer_kinds[i] == LayerKind::kAttention) {
        attention(i, segments);
      } else {
        delta_net(i, segments);
      }
      runner_.read_on();
      backend_.add(a_.x, a_.mixed, rows_ * hidden);
      backend_.rms_norm(a_.x, layer.moe_norm, rows_, hidden, config_.rms_eps, a_.normed);
      if (config_.routed[i]) {
        moe(i);
      } else {
        Timer timer(&times_.dense_s);
        show(i, experts::DenseInput::kRouted, a_.normed, hidden);
        const kernels::FeedForwardJob job = dense_network(i, a_.mixed);
        backend_.feed_forward(a_.normed, hidden, {&job, 1});
        show(i, experts::DenseInput::kDown, job.inner, job.network.down.cols);
      }
      backend_.add(a_.x, a_.mixed, rows_ * hidden);
    }
  } catch (const Error&) {
    runner_.abandon();
    throw;
  }
  if (input_tap_ != nullptr) {
    backend_.rms_norm(a_.x, weights_.final_norm, rows_, hidden, config_.rms_eps, a_.normed);
    show(config_.layers, experts::DenseInput::kHead, a_.normed, hidden);
  }
  for (const Segment& s : segments) s.state->commit(static_cast<int64_t>(s.tokens.size()));
  if (tap_ != nullptr) tap_->end_step();
}

void Model::attention(int layer, std::span<const Segment> segments) {
  const AttentionWeights& w = weights_.layers[layer].attention;
  {
    Timer timer(&times_.dense_s);
    const kernels::LinearJob jobs[] = {{w.q, a_.q}, {w.k, a_.k}, {w.v, a_.v}, {w.gate, a_.gate}};
    backend_.linear(a_.normed, rows_, config_.hidden, std::span(jobs).first(w.gate ? 4 : 3));
  }
  runner_.read_on();
  {
    Timer timer(&times_.attention_s);
    attention_segments_.clear();
    int64_t row = 0;
    for (const Segment& s : segments) {
      const int64_t n = static_cast<int64_t>(s.tokens.size());
      attention_segments_.push_back(
          {row, n, s.state->length(), s.state->pages(kind_index_[layer])});
      row += n;
    }
    backend_.attention(attention_shape_, w.norms, {a_.q, a_.k, a_.v, w.gate ? a_.gate : nullptr},
                       attention_segments_, a_.heads);
  }
  runner_.read_on();
  show(layer, experts::DenseInput::kMixerOut, a_.heads, w.out.cols);
  Timer timer(&times_.dense_s);
  const kernels::LinearJob out{w.out, a_.mixed};
  backend_.linear(a_.heads, rows_, w.out.cols, {&out, 1});
}

void Model::delta_net(int layer, std::span<const Segment> segments) {
  const DeltaNetWeights& w = weights_.layers[layer].delta;
  {
    Timer timer(&times_.dense_s);
    const kernels::LinearJob jobs[] = {{w.qkv, a_.qkv},
                                       {w.z, a_.z},
                                       {w.beta, a_.beta, Precision::kFloat},
                                       {w.dt, a_.dt, Precision::kFloat}};
    backend_.linear(a_.normed, rows_, config_.hidden, jobs);
  }
  runner_.read_on();
  {
    Timer timer(&times_.delta_net_s);
    delta_segments_.clear();
    int64_t row = 0;
    for (const Segment& s : segments) {
      kernels::DeltaNetSegment segment = s.state->recurrent(kind_index_[layer]);
      segment.row_begin = row;
      segment.rows = static_cast<int64_t>(s.tokens.size());
      row += segment.rows;
      delta_segments_.push_back(segment);
    }
    backend_.delta_net(delta_shape_, w.net, {a_.qkv, a_.z, a_.beta, a_.dt}, delta_segments_,
                       a_.heads);
  }
  runner_.read_on();
  show(layer, experts::DenseInput::kMixerOut, a_.heads, w.out.cols);
  Timer timer(&times_.dense_s);
  const kernels::LinearJob out{w.out, a_.mixed};
  backend_.linear(a_.heads, rows_, w.out.cols, {&out, 1});
}

void Model::moe(int layer) {
  const LayerWeights& w = weights_.layers[layer];
  const int k = config_.moe.experts_per_token;
  const std::span<kernels::Route> routes(routes_.data(), static_cast<size_t>(rows_ * k));
  {
    Timer timer(&times_.router_s);
    const kernels::LinearJob jobs[] = {{w.router, a_.router, Precision::kFloat},
                                       {w.shared_gate, a_.shared_gate, Precision::kFloat}};
    backend_.linear(a_.normed, rows_, config_.hidden, std::span(jobs).first(w.shared_gate ? 2 : 1));
    backend_.route(a_.router, rows_, config_.moe.experts, k, config_.moe.normalize, routes.data());
  }
  show(layer, experts::DenseInput::kRouted, a_.normed, config_.hidden);
  if (tap_ != nullptr) tap_->on_routes(routed_index_[layer], routes, k);
  runner_.start(layer, routes, k);
  guess_routes(layer + 1);
  if (w.shared_gate) {
    const kernels::FeedForwardJob shared = dense_network(layer, a_.shared);
    runner_.finish(a_.normed, a_.experts, &shared);
    show(layer, experts::DenseInput::kDown, shared.inner, shared.network.down.cols);
  } else {
    runner_.finish(a_.normed, a_.experts, nullptr);
  }
  backend_.combine(routes.data(), a_.experts, rows_, k, config_.hidden,
                   w.shared_gate ? a_.shared : nullptr, a_.shared_gate, a_.mixed);
}

void Model::guess_routes(int layer) {
  if (layer == config_.layers || !config_.routed[layer]) return;
  const bool for_tap = tap_ != nullptr && tap_->wants_early_routes();
  if (!for_tap && !runner_.wants_early_routes(layer)) return;
  const int k = config_.moe.experts_per_token;
  early_routes_.resize(routes_.size());
  const std::span<kernels::Route> routes(early_routes_.data(), static_cast<size_t>(rows_ * k));
  Timer timer(&times_.router_s);
  const LayerWeights& w = weights_.layers[layer];
  backend_.rms_norm(a_.x, w.moe_norm, rows_, config_.hidden, config_.rms_eps, a_.mixed);
  const kernels::LinearJob job{w.router, a_.router, Precision::kFloat};
  backend_.linear(a_.mixed, rows_, config_.hidden, {&job, 1});
  backend_.route(a_.router, rows_, config_.moe.experts, k, config_.moe.normalize, routes.data());
  if (tap_ != nullptr) tap_->on_early_routes(routed_index_[layer], routes, k);
  runner_.expect(layer, routes, k);
}

kernels::FeedForwardJob Model::dense_network(int layer, float* y) {
  kernels::FeedForwardJob job{weights_.layers[layer].shared,
                              std::span(all_rows_).first(static_cast<size_t>(rows_)), y};
  if (input_tap_ != nullptr) {
    inner_.resize(static_cast<size_t>(rows_ * job.network.down.cols));
    job.inner = inner_.data();
  }
  return job;
}

void Model::show(int layer, experts::DenseInput input, const float* x, int64_t width) {
  if (input_tap_ != nullptr) input_tap_->on_input(layer, input, x, rows_, width);
}

void Model::head(std::span<const int32_t> rows, float* logits) {
  CHECK(static_cast<int64_t>(rows.size()) <= kHeadRows);
  Timer timer(&times_.dense_s);
  const int64_t hidden = config_.hidden;
  for (size_t i = 0; i < rows.size(); ++i) {
    CHECK(rows[i] < rows_);
    backend_.rms_norm(a_.x + rows[i] * hidden, weights_.final_norm, 1, hidden, config_.rms_eps,
                      a_.head_rows + static_cast<int64_t>(i) * hidden);
  }
  const kernels::LinearJob job{weights_.head, logits};
  backend_.linear(a_.head_rows, static_cast<int64_t>(rows.size()), hidden, {&job, 1});
}

}  // namespace flashmoe::model
