#include "convert/mlx_tensors.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <map>
#include <optional>
#include <string_view>
#include <utility>

#include "base/check.h"
#include "base/error.h"

namespace flashmoe::convert {

namespace {

using format::Extent;
using format::TensorInfo;
using quant::DType;

constexpr std::string_view kWeight = ".weight";

// Removes `prefix` or `suffix` if it is there.
bool eat_prefix(std::string_view* text, std::string_view prefix) {
  if (!text->starts_with(prefix)) return false;
  text->remove_prefix(prefix.size());
  return true;
}
bool eat_suffix(std::string_view* text, std::string_view suffix) {
  if (!text->ends_with(suffix)) return false;
  text->remove_suffix(suffix.size());
  return true;
}

std::optional<int> eat_number(std::string_view* text) {
  int value = 0;
  const auto [end, error] = std::from_chars(text->data(), text->data() + text->size(), value);
  if (error != std::errc()) return std::nullopt;
  text->remove_prefix(static_cast<size_t>(end - text->data()));
  return value;
}

// Layer numbers in order; what belongs to no layer comes first.
int layer_of(std::string_view name) {
  constexpr std::string_view kLayers = ".layers.";
  const size_t at = name.find(kLayers);
  if (at == std::string_view::npos) return -1;
  name.remove_prefix(at + kLayers.size());
  return eat_number(&name).value_or(-1);
}

bool is_convolution(std::string_view name) { return name.ends_with(".conv1d.weight"); }

// The norms whose formula is (1 + w): not the delta net's gated one.
bool holds_one_in_mlx(std::string_view name) {
  constexpr std::string_view kNorms[] = {".input_layernorm.weight",
                                         ".post_attention_layernorm.weight", "model.norm.weight",
                                         ".q_norm.weight", ".k_norm.weight"};
  return std::any_of(std::begin(kNorms), std::end(kNorms),
                     [&](std::string_view norm) { return name.ends_with(norm); });
}

// MLX moves the convolution's axes and adds 1 to norms in the same conversion; without a
// convolution the names of the experts tell.
bool is_mlx(const format::Checkpoint& source) {
  bool stacked = false;
  for (const TensorInfo& tensor : source.tensors()) {
    if (is_convolution(tensor.name)) return tensor.shape.size() == 3 && tensor.shape[2] == 1;
    stacked = stacked || tensor.name.find(".switch_mlp.") != std::string::npos;
  }
  return stacked;
}

class Planner {
 public:
  Planner(const format::Checkpoint& source, const model::ModelConfig& config, const Recipe& recipe)
      : source_(source),
        config_(config),
        recipe_(recipe),
        wrapped_(config.family == model::Family::kQwen35Moe),
        add_one_(config.norm_plus_one && !is_mlx(source)) {}

  void add(const TensorInfo& source) {
    const std::string name = name_of(source.name);
    if (source.dtype != DType::kF32 && source.dtype != DType::kF16 &&
        source.dtype != DType::kBf16) {
      return add_affine(name, source);
    }
    if (is_part(source.name)) return;
    // ".experts.7.up_proj.weight", ".experts.gate_up_proj": one of many or all of them.
    constexpr std::string_view kExperts = ".mlp.experts.";
    const size_t at = name.find(kExperts);
    if (at == std::string::npos) return add_whole(name, source);
    const std::string stack = name.substr(0, at) + ".mlp.switch_mlp.";
    std::string_view rest = std::string_view(name).substr(at + kExperts.size());
    eat_suffix(&rest, kWeight);
    if (const std::optional<int> expert = eat_number(&rest)) {
      CHECK(eat_prefix(&rest, "."));
      add_expert(fmt::format("{}{}.weight", stack, rest), *expert, source);
    } else if (rest == "gate_up_proj") {
      add_halves(stack, source);
    } else {
      add_whole(fmt::format("{}{}.weight", stack, rest), source);
    }
  }

  std::vector<MlxTensor> finish() {
    std::vector<MlxTensor> result;
    for (auto& [name, tensor] : tensors_) {
      tensor.name = name;
      tensor.format = format_of(tensor);
      tensor.add_one = add_one_ && holds_one_in_mlx(name);
      result.push_back(std::move(tensor));
    }
    std::stable_sort(result.begin(), result.end(), [](const MlxTensor& a, const MlxTensor& b) {
      return layer_of(a.name) < layer_of(b.name);
    });
    return result;
  }

 private:
  // MLX's class for qwen3_5_moe has the text model inside a `language_model`.
  std::string name_of(std::string_view name) const {
    const bool inner = eat_prefix(&name, "model.language_model.") ||
                       eat_prefix(&name, "language_model.model.") || eat_prefix(&name, "model.");
    if (!inner) eat_prefix(&name, "language_model.");
    return fmt::format("{}{}{}", wrapped_ ? "language_model." : "", inner ? "model." : "", name);
  }

  void add_whole(const std::string& name, const TensorInfo& source) {
    std::vector<int64_t> shape = source.shape;
    // [channels, 1, width] to [channels, width, 1].
    if (is_convolution(name) && shape.size() == 3 && shape[2] != 1) std::swap(shape[1], shape[2]);
    insert(name, std::move(shape), source.dtype).sources = format::contiguous_extents(source);
  }

  // Scales or biases, which are read with the codes they belong to.
  bool is_part(std::string_view name) const {
    if (!eat_suffix(&name, ".scales") && !eat_suffix(&name, ".biases")) return false;
    const TensorInfo* codes = source_.find(fmt::format("{}.weight", name));
    return codes != nullptr && codes->dtype == DType::kU32;
  }

  void add_affine(const std::string& name, const TensorInfo& codes) {
    std::string_view path = codes.name;
    const auto matrix = eat_suffix(&path, kWeight) && codes.dtype == DType::kU32
                            ? source_.find_matrix(path)
                            : std::nullopt;
    if (!matrix || matrix->format.encoding != quant::Encoding::kAffine) {
      throw_error(
          ErrorCode::kUnsupported,
          "{}: {} is stored as {}, from which flashmoe cannot quantise; take the original in "
          "F32, F16 or BF16",
          source_.path(), codes.name, codes.dtype_name);
    }
    std::vector<int64_t> shape = codes.shape;
    shape.back() = matrix->cols;
    MlxTensor& tensor = insert(name, std::move(shape), matrix->format.dtype);
    tensor.sources = {matrix->codes};
    tensor.source_format = matrix->format;
    tensor.source_scales = matrix->scales;
    tensor.source_biases = matrix->biases;
  }

  void add_expert(const std::string& name, int expert, const TensorInfo& source) {
    CHECK(expert >= 0 && expert < config_.moe.experts && source.shape.size() == 2);
    MlxTensor& stack =
        insert(name, {config_.moe.experts, source.shape[0], source.shape[1]}, source.dtype);
    stack.sources.resize(static_cast<size_t>(config_.moe.experts));
    stack.sources[static_cast<size_t>(expert)] = source.extent;
  }

  // [experts, gate rows then up rows, cols]
  void add_halves(const std::string& stack, const TensorInfo& source) {
    CHECK(source.shape.size() == 3 && source.shape[1] % 2 == 0);
    const std::vector<int64_t> shape = {source.shape[0], source.shape[1] / 2, source.shape[2]};
    const uint64_t half = source.extent.bytes / static_cast<uint64_t>(2 * shape[0]);
    const uint64_t stride = source.slice_stride > 0 ? source.slice_stride : 2 * half;
    uint64_t offset = source.extent.offset;
    MlxTensor& gate = insert(stack + "gate_proj.weight", shape, source.dtype);
    MlxTensor& up = insert(stack + "up_proj.weight", shape, source.dtype);
    for (int64_t e = 0; e < shape[0]; ++e, offset += stride) {
      gate.sources.push_back({source.extent.file, offset, half});
      up.sources.push_back({source.extent.file, offset + half, half});
    }
  }

  // The tensor of this name, new or as an expert before left it.
  MlxTensor& insert(const std::string& name, std::vector<int64_t> shape, DType dtype) {
    MlxTensor& tensor = tensors_[name];
    CHECK(tensor.sources.empty() || (tensor.shape == shape && tensor.dtype == dtype));
    tensor.shape = std::move(shape);
    tensor.dtype = dtype;
    tensor.source_format = {quant::Encoding::kPlain, dtype, 0, 0};
    return tensor;
  }

  // Matrices and the embedding are quantised; what the recipe has no format for stays as it is.
  quant::Format format_of(const MlxTensor& tensor) const {
    const quant::Format plain = {quant::Encoding::kPlain, tensor.dtype, 0, 0};
    if (tensor.shape.size() < 2 || is_convolution(tensor.name)) return plain;
    const std::optional<MlxFormat> format = recipe_.format_of(tensor.path(), tensor.cols());
    if (!format) return tensor.source_format;
    return {quant::Encoding::kAffine, tensor.dtype, format->bits, format->group};
  }

  const format::Checkpoint& source_;
  const model::ModelConfig& config_;
  const Recipe& recipe_;
  const bool wrapped_;
  const bool add_one_;
  std::map<std::string, MlxTensor> tensors_;  // by name
};

}  // namespace

std::string MlxTensor::path() const {
  std::string_view path = name;
  eat_suffix(&path, kWeight);
  return std::string(path);
}

int64_t MlxTensor::rows() const {
  int64_t rows = 1;
  for (size_t i = 0; i + 1 < shape.size(); ++i) rows *= shape[i];
  return rows;
}

uint64_t MlxTensor::source_bytes() const {
  uint64_t bytes = 0;
  for (const Extent& source : sources) bytes += source.bytes;
  return bytes + source_scales.bytes + source_biases.bytes;
}

uint64_t MlxTensor::output_bytes() const {
  return static_cast<uint64_t>(rows()) * format.row_bytes(cols());
}

std::vector<format::SafetensorsWriter::Tensor> MlxTensor::stored() const {
  if (format.encoding == quant::Encoding::kPlain) return {{name, dtype, shape}};
  std::vector<int64_t> codes = shape, scales = shape;
  codes.back() = cols() * format.bits / 32;
  scales.back() = cols() / format.group;
  return {{name, DType::kU32, codes},
          {path() + ".scales", dtype, scales},
          {path() + ".biases", dtype, scales}};
}

std::vector<MlxTensor> mlx_tensors(const format::Checkpoint& source,
                                   const model::ModelConfig& config,
                                   const std::set<std::string>& unused, const Recipe& recipe) {
  const auto is_embedding = [](const TensorInfo& tensor) {
    return tensor.name.ends_with("embed_tokens.weight");
  };
  if (std::none_of(source.tensors().begin(), source.tensors().end(), is_embedding)) {
    throw_error(
        ErrorCode::kUnsupported,
        "{}: has not the tensor names of a Hugging Face or MLX folder, which quantize reads",
        source.path());
  }
  Planner planner(source, config, recipe);
  for (const TensorInfo& tensor : source.tensors()) {
    if (!unused.contains(tensor.name)) planner.add(tensor);
  }
  return planner.finish();
}

}  // namespace flashmoe::convert
