#include "convert/mlx_tensors.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <optional>
#include <string_view>
#include <utility>

#include "base/check.h"
#include "model/tensor_finder.h"

namespace flashmoe::convert {

namespace {

using format::MatrixInfo;
using format::TensorInfo;
using model::TensorNames;
using quant::DType;
using Change = MlxTensor::Change;

constexpr std::string_view kWeight = ".weight";
// MLX has Hugging Face's names in all but experts and prefixes.
const TensorNames& kNames = model::kTransformersNames;

bool is_convolution(std::string_view name) { return name.ends_with(kNames.delta.conv); }

// Scales of the types that MLX knows stay in them.
DType dtype_of(const MatrixInfo& source) {
  using quant::Encoding;
  const auto [encoding, dtype] = std::pair(source.format.encoding, source.format.dtype);
  const bool stays = (encoding == Encoding::kPlain || encoding == Encoding::kAffine) &&
                     (dtype == DType::kF32 || dtype == DType::kF16 || dtype == DType::kBf16);
  return stays ? dtype : DType::kBf16;
}

// A tensor that is no matrix, as rows of `cols` values.
MatrixInfo as_matrix(const TensorInfo& tensor, int64_t rows, int64_t cols) {
  MatrixInfo matrix;
  matrix.name = tensor.name;
  matrix.format = {quant::Encoding::kPlain, tensor.dtype, 0, 0};
  matrix.rows = rows;
  matrix.cols = cols;
  matrix.add_part(&MatrixInfo::codes, tensor);
  return matrix;
}

// Walks the layers as running the model does (model/weights.cc).
class Planner {
 public:
  Planner(const format::Checkpoint& source, const model::ModelConfig& config, const Recipe& recipe)
      : finder_(source, config),
        names_(finder_.names()),
        config_(config),
        recipe_(recipe),
        add_one_(config.norm_plus_one && !names_.norms_hold_one && !finder_.is_mlx()),
        // MLX's class for qwen3_5_moe has the text model inside a `language_model`.
        outer_(config.family == model::Family::kQwen35Moe ? "language_model." : "") {}

  MlxPlan plan() {
    const int64_t vocab = config_.vocab, hidden = config_.hidden;
    in_ = {std::string(), outer_ + "model."};
    add_matrix(kNames.embedding, names_.embedding, vocab, hidden);
    add_norm(kNames.final_norm, names_.final_norm, hidden);
    if (!config_.tied_embeddings) {
      put(fmt::format("{}{}{}", outer_, kNames.heads[0], kWeight), {vocab, hidden},
          finder_.head(vocab, hidden));
    }
    take_layer();
    for (int i = 0; i < config_.layers; ++i) {
      in_ = {model::numbered(names_.layer, i),
             outer_ + "model." + model::numbered(kNames.layer, i)};
      add_norm(kNames.mixer_norm, names_.mixer_norm, hidden);
      add_norm(kNames.moe_norm, names_.moe_norm, hidden);
      if (config_.layer_kinds[static_cast<size_t>(i)] == model::LayerKind::kAttention) {
        add_attention();
      } else {
        add_delta_net();
      }
      if (config_.routed[static_cast<size_t>(i)]) {
        add_moe();
      } else {
        add_feed_forward(kNames.dense, names_.dense, config_.dense_intermediate);
      }
      take_layer();
    }
    return {std::move(result_), finder_.unused()};
  }

 private:
  bool has(std::string_view name) const {
    return !name.empty() && finder_.has(in_.source + std::string(name));
  }
  MatrixInfo find(std::string_view name, int64_t rows, int64_t cols, int64_t count = 1) {
    return finder_.matrix(in_.source + std::string(name), rows, cols, count);
  }

  // Result `name` of `shape`, of all rows of one matrix unless the caller says otherwise.
  MlxTensor& put(const std::string& name, std::vector<int64_t> shape, MatrixInfo source) {
    MlxTensor& tensor = layer_[name];
    tensor.shape = std::move(shape);
    tensor.cols = source.cols;
    tensor.dtype = dtype_of(source);
    tensor.sources = {{0, 0, source.count * source.rows}};
    tensor.matrices.push_back(std::move(source));
    return tensor;
  }
  // Names of matrices are without ".weight", those of others whole.
  MlxTensor& add_rows(std::string_view name, std::vector<int64_t> shape, MatrixInfo source) {
    return put(fmt::format("{}{}{}", in_.result, name, kWeight), std::move(shape),
               std::move(source));
  }
  MlxTensor& add_matrix(std::string_view name, std::string_view source, int64_t rows,
                        int64_t cols) {
    return add_rows(name, {rows, cols}, find(source, rows, cols));
  }
  MlxTensor& add_vector(std::string_view name, std::string_view source, int64_t width) {
    const TensorInfo& found = finder_.vector(in_.source + std::string(source), {width});
    return put(in_.result + std::string(name), {width}, as_matrix(found, 1, width));
  }
  void add_norm(std::string_view name, std::string_view source, int64_t width) {
    MlxTensor& norm = add_vector(name, source, width);
    if (add_one_) norm.change = Change::kPlusOne;
  }

  void add_attention() {
    const auto& a = config_.attention;
    const auto& names = names_.attention;
    const int64_t hidden = config_.hidden, dim = a.head_dim;
    const int64_t q_rows = (a.gated ? 2 : 1) * a.heads * dim, kv_rows = a.kv_heads * dim;
    if (has(names.qkv)) {
      const MatrixInfo all = find(names.qkv, q_rows + 2 * kv_rows, hidden);
      add_rows(kNames.attention.q, {q_rows, hidden}, all).sources = {{0, 0, q_rows}};
      add_rows(kNames.attention.k, {kv_rows, hidden}, all).sources = {{0, q_rows, kv_rows}};
      add_rows(kNames.attention.v, {kv_rows, hidden}, all).sources = {
          {0, q_rows + kv_rows, kv_rows}};
    } else {
      add_matrix(kNames.attention.q, names.q, q_rows, hidden);
      add_matrix(kNames.attention.k, names.k, kv_rows, hidden);
      add_matrix(kNames.attention.v, names.v, kv_rows, hidden);
    }
    add_matrix(kNames.attention.out, names.out, hidden, a.heads * dim);
    add_norm(kNames.attention.q_norm, names.q_norm, dim);
    add_norm(kNames.attention.k_norm, names.k_norm, dim);
  }

  void add_delta_net() {
    const auto& d = config_.delta;
    const auto& names = names_.delta;
    const int64_t hidden = config_.hidden, keys = d.key_width(), values = d.value_width();
    if (config_.family == model::Family::kQwen3Next) {
      add_by_key_head();
    } else {
      MlxTensor& qkv = add_matrix(kNames.delta.qkv, names.qkv, d.conv_channels(), hidden);
      qkv.sources = value_rows(2 * keys, d.value_dim);
      add_matrix(kNames.delta.z, names.z, values, hidden).sources = value_rows(0, d.value_dim);
      add_matrix(kNames.delta.b, names.b, d.value_heads, hidden).sources = value_rows(0, 1);
      add_matrix(kNames.delta.a, names.a, d.value_heads, hidden).sources = value_rows(0, 1);
    }
    add_matrix(kNames.delta.out, names.out, hidden, values).columns = value_columns(d.value_dim);
    const int64_t channels = d.conv_channels(), taps = d.conv_width;
    const TensorInfo& conv = finder_.vector(in_.source + std::string(names.conv), {channels, taps});
    put(in_.result + std::string(kNames.delta.conv), {channels, taps, 1},
        as_matrix(conv, channels, taps))
        .sources = value_rows(2 * keys, d.value_dim);
    MlxTensor& decay = add_vector(kNames.delta.decay, names.decay, d.value_heads);
    decay.columns = value_columns(1);
    if (!names_.decay_is_log) decay.change = Change::kLogOfNegative;
    add_vector(kNames.delta.dt_bias, names.dt_bias, d.value_heads).columns = value_columns(1);
    add_vector(kNames.delta.norm, names.norm, d.value_dim);
  }

  // qwen3_next: for each key head [its q | its k | v of its value heads | z of these], and
  // [betas | alphas] of its value heads.
  void add_by_key_head() {
    const auto& d = config_.delta;
    const auto& names = names_.delta;
    const int64_t hidden = config_.hidden, dim = d.key_dim, heads = d.value_heads / d.key_heads;
    const int64_t values = heads * d.value_dim, channels = d.conv_channels();
    const std::vector<int64_t> qkvz_shape = {channels + d.value_width(), hidden};
    if (has(names.qkvz)) {
      add_matrix(kNames.delta.qkvz, names.qkvz, qkvz_shape[0], hidden);
    } else {
      MlxTensor& qkvz = add_rows(kNames.delta.qkvz, qkvz_shape, find(names.qkv, channels, hidden));
      qkvz.matrices.push_back(find(names.z, d.value_width(), hidden));
      qkvz.sources.clear();
      for (int64_t h = 0; h < d.key_heads; ++h) {
        qkvz.sources.push_back({0, h * dim, dim});
        qkvz.sources.push_back({0, d.key_width() + h * dim, dim});
        qkvz.sources.push_back({0, 2 * d.key_width() + h * values, values});
        qkvz.sources.push_back({1, h * values, values});
      }
    }
    if (has(names.ba)) {
      add_matrix(kNames.delta.ba, names.ba, 2 * d.value_heads, hidden);
      return;
    }
    MlxTensor& ba = add_rows(kNames.delta.ba, {2 * d.value_heads, hidden},
                             find(names.b, d.value_heads, hidden));
    ba.matrices.push_back(find(names.a, d.value_heads, hidden));
    ba.sources.clear();
    for (int64_t h = 0; h < d.key_heads; ++h) {
      ba.sources.push_back({0, h * heads, heads});
      ba.sources.push_back({1, h * heads, heads});
    }
  }

  // The first rows as they are, then those of the value heads, `width` each, in transformers'
  // order.
  std::vector<SourceRows> value_rows(int64_t before, int64_t width) const {
    const int64_t heads = config_.delta.value_heads;
    if (!config_.delta.tiled) return {{0, 0, before + heads * width}};
    std::vector<SourceRows> rows;
    if (before > 0) rows.push_back({0, 0, before});
    for (int64_t h = 0; h < heads; ++h) {
      rows.push_back({0, before + stored_value_head(config_, h) * width, width});
    }
    return rows;
  }
  std::vector<int32_t> value_columns(int64_t width) const {
    std::vector<int32_t> columns;
    if (!config_.delta.tiled) return columns;
    for (int64_t h = 0; h < config_.delta.value_heads; ++h) {
      const int64_t first = stored_value_head(config_, h) * width;
      for (int64_t i = 0; i < width; ++i) columns.push_back(static_cast<int32_t>(first + i));
    }
    return columns;
  }

  void add_feed_forward(const model::FeedForwardNames& to, const model::FeedForwardNames& from,
                        int64_t intermediate) {
    add_matrix(to.gate, from.gate, intermediate, config_.hidden);
    add_matrix(to.up, from.up, intermediate, config_.hidden);
    add_matrix(to.down, from.down, config_.hidden, intermediate);
  }

  void add_moe() {
    add_matrix(kNames.router, names_.router, config_.moe.experts, config_.hidden);
    if (config_.moe.shared_intermediate > 0) {
      add_feed_forward(kNames.shared, names_.shared, config_.moe.shared_intermediate);
      add_matrix(kNames.shared_gate, names_.shared_gate, 1, config_.hidden);
    }
    const int64_t experts = config_.moe.experts, inner = config_.moe.intermediate;
    const int64_t hidden = config_.hidden;
    if (has(names_.fused_gate_up)) {
      const MatrixInfo both = find(names_.fused_gate_up, 2 * inner, hidden, experts);
      for (const bool up : {false, true}) {
        MlxTensor& tensor =
            add_rows(up ? kNames.stacks.up : kNames.stacks.gate, {experts, inner, hidden}, both);
        tensor.sources.clear();
        for (int64_t e = 0; e < experts; ++e) {
          tensor.sources.push_back({0, (2 * e + (up ? 1 : 0)) * inner, inner});
        }
      }
      add_rows(kNames.stacks.down, {experts, hidden, inner},
               find(names_.fused_down, hidden, inner, experts));
      return;
    }
    add_stack(kNames.stacks.gate, names_.stacks.gate, names_.singles.gate, inner, hidden);
    add_stack(kNames.stacks.up, names_.stacks.up, names_.singles.up, inner, hidden);
    add_stack(kNames.stacks.down, names_.stacks.down, names_.singles.down, hidden, inner);
  }

  // The experts' matrices in one tensor, or each by itself.
  void add_stack(std::string_view name, std::string_view stack, std::string_view single,
                 int64_t rows, int64_t cols) {
    const int64_t experts = config_.moe.experts;
    if (single.empty() || has(stack)) {
      add_rows(name, {experts, rows, cols}, find(stack, rows, cols, experts));
      return;
    }
    MlxTensor* tensor = nullptr;
    for (int64_t e = 0; e < experts; ++e) {
      MatrixInfo matrix = find(model::numbered(single, e), rows, cols);
      if (tensor == nullptr) {
        tensor = &add_rows(name, {experts, rows, cols}, std::move(matrix));
      } else {
        tensor->matrices.push_back(std::move(matrix));
        tensor->sources.push_back({static_cast<size_t>(e), 0, rows});
      }
    }
  }

  // Matrices and the embedding are quantised; what the recipe has no format for stays as it is
  // where MLX has that format, and is plain else.
  void set_format(MlxTensor* tensor) const {
    const MatrixInfo& source = tensor->matrices.front();
    tensor->format = {quant::Encoding::kPlain, tensor->dtype, 0, 0};
    if (tensor->shape.size() < 2 || is_convolution(tensor->name)) return;
    if (const auto format = recipe_.format_of(tensor->path(), tensor->cols)) {
      tensor->format = {quant::Encoding::kAffine, tensor->dtype, format->bits, format->group};
    } else if (source.format.encoding == quant::Encoding::kAffine && source.storage.keeps_rows()) {
      tensor->format = source.format;
      tensor->unchanged = true;
    }
  }

  void take_layer() {
    for (auto& [name, tensor] : layer_) {
      tensor.name = name;
      set_format(&tensor);
      result_.push_back(std::move(tensor));
    }
    layer_.clear();
  }

  model::TensorFinder finder_;
  const TensorNames& names_;
  const model::ModelConfig& config_;
  const Recipe& recipe_;
  const bool add_one_;
  const std::string outer_;
  struct {
    std::string source, result;  // what the names of this layer begin with
  } in_;
  std::map<std::string, MlxTensor> layer_;  // by name
  std::vector<MlxTensor> result_;
};

}  // namespace

std::string MlxTensor::path() const {
  std::string_view path = name;
  if (path.ends_with(kWeight)) path.remove_suffix(kWeight.size());
  return std::string(path);
}

int64_t MlxTensor::rows() const {
  int64_t rows = 0;
  for (const SourceRows& source : sources) rows += source.count;
  return rows;
}

bool MlxTensor::quantised_before() const {
  return matrices.front().format.encoding != quant::Encoding::kPlain;
}

uint64_t MlxTensor::source_bytes() const {
  uint64_t bytes = 0;
  for (const SourceRows& source : sources) {
    const MatrixInfo& matrix = matrices[source.matrix];
    bytes += matrix.file_bytes() / static_cast<uint64_t>(matrix.count * matrix.rows) *
             static_cast<uint64_t>(source.count);
  }
  return bytes;
}

uint64_t MlxTensor::output_bytes() const {
  return static_cast<uint64_t>(rows()) * format.row_bytes(cols);
}

std::vector<format::SafetensorsWriter::Tensor> MlxTensor::stored() const {
  if (format.encoding == quant::Encoding::kPlain) return {{name, dtype, shape}};
  std::vector<int64_t> codes = shape, scales = shape;
  codes.back() = cols * format.bits / 32;
  scales.back() = cols / format.group;
  return {{name, DType::kU32, codes},
          {path() + ".scales", dtype, scales},
          {path() + ".biases", dtype, scales}};
}

MlxPlan plan_mlx(const format::Checkpoint& source, const model::ModelConfig& config,
                 const Recipe& recipe) {
  return Planner(source, config, recipe).plan();
}

int64_t stored_value_head(const model::ModelConfig& config, int64_t head) {
  if (!config.delta.tiled) return head;
  const int64_t keys = config.delta.key_heads, each = config.delta.value_heads / keys;
  return head % each * keys + head / each;
}

}  // namespace flashmoe::convert
