#include "model/tensor_finder.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "base/error.h"

namespace flashmoe::model {

namespace {

// Parts of published checkpoints that text generation does without.
constexpr std::string_view kOptional[] = {"mtp.",    "model.mtp.",    "language_model.mtp.",
                                          "visual.", "model.visual.", "vision_tower."};

std::vector<int64_t> without_ones(std::vector<int64_t> shape) {
  std::erase(shape, 1);
  return shape;
}

bool starts_with_any(std::string_view name, std::span<const std::string_view> prefixes) {
  return std::any_of(prefixes.begin(), prefixes.end(),
                     [&](std::string_view p) { return name.starts_with(p); });
}

}  // namespace

TensorFinder::TensorFinder(const format::Checkpoint& checkpoint, const ModelConfig& config)
    : checkpoint_(checkpoint), config_(config) {
  for (const TensorNames& names : {kTransformersNames, gguf_names(config.family)}) {
    for (std::string_view prefix : names.prefixes) {
      const std::string embedding = std::string(prefix) + std::string(names.embedding) + ".weight";
      if (checkpoint.find(embedding) == nullptr) continue;
      names_ = names;
      prefix_ = prefix;
      return;
    }
  }
  throw_error(ErrorCode::kNotFound,
              "{}: no tensor 'model.embed_tokens.weight' (nor under 'model.language_model.' or "
              "'language_model.model.', nor 'token_embd.weight'); is this a checkpoint of a {} "
              "model?",
              checkpoint.path(), config.model_type);
}

bool TensorFinder::is_mlx() const {
  for (int i = 0; i < config_.layers; ++i) {
    const std::string conv_name = numbered(names_.layer, i) + std::string(names_.delta.conv);
    if (const format::TensorInfo* conv = find(conv_name)) {
      return conv->shape.size() == 3 && conv->shape[2] == 1;
    }
  }
  return has(numbered(names_.layer, 0) + std::string(names_.stacks.gate));
}

format::MatrixInfo TensorFinder::matrix(const std::string& name, int64_t rows, int64_t cols,
                                        int64_t count) {
  return checked(prefix_ + name, rows, cols, count);
}

format::MatrixInfo TensorFinder::head(int64_t rows, int64_t cols) {
  for (std::string_view name : names_.heads) {
    if (checkpoint_.find_matrix(name, cols)) return checked(std::string(name), rows, cols, 1);
  }
  throw_error(ErrorCode::kNotFound,
              "{}: no tensor '{}.weight', and {} does not tie it to the embedding",
              checkpoint_.path(), names_.heads.front(), names_.config);
}

format::MatrixInfo TensorFinder::checked(const std::string& full_name, int64_t rows, int64_t cols,
                                         int64_t count) {
  std::optional<format::MatrixInfo> info = checkpoint_.find_matrix(full_name, cols);
  if (!info) {
    throw_error(ErrorCode::kNotFound, "{}: tensor '{}' is missing", checkpoint_.path(),
                full_name + ".weight");
  }
  if (info->rows != rows || info->cols != cols || info->count != count) {
    throw_error(ErrorCode::kCorrupt,
                "{}: tensor '{}' is {} x [{}, {}], but {} calls for {} x [{}, {}]",
                checkpoint_.path(), full_name, info->count, info->rows, info->cols, names_.config,
                count, rows, cols);
  }
  for (const std::string& tensor : info->tensors) {
    (is_read(*info, tensor) ? used_ : notes_).insert(tensor);
  }
  return *info;
}

bool TensorFinder::is_read(const format::MatrixInfo& matrix, const std::string& tensor) const {
  const format::Extent own = checkpoint_.find(tensor)->extent;
  const format::Extent* parts[] = {&matrix.codes, &matrix.scales, &matrix.biases,
                                   &matrix.group_of_input};
  return std::any_of(std::begin(parts), std::end(parts), [&](const format::Extent* part) {
    return part->bytes > 0 && part->file == own.file && part->offset == own.offset;
  });
}

const format::TensorInfo& TensorFinder::vector(const std::string& name,
                                               std::vector<int64_t> shape) {
  const std::string full_name = prefix_ + name;
  const format::TensorInfo* info = checkpoint_.find(full_name);
  if (info == nullptr) {
    throw_error(ErrorCode::kNotFound, "{}: tensor '{}' is missing", checkpoint_.path(), full_name);
  }
  if (without_ones(info->shape) != without_ones(shape)) {
    throw_error(ErrorCode::kCorrupt, "{}: tensor '{}' has shape [{}], but {} calls for [{}]",
                checkpoint_.path(), full_name, fmt::join(info->shape, ", "), names_.config,
                fmt::join(shape, ", "));
  }
  using quant::DType;
  if (info->dtype != DType::kF32 && info->dtype != DType::kF16 && info->dtype != DType::kBf16) {
    throw_error(ErrorCode::kUnsupported, "{}: tensor '{}' is {}; F32, F16 or BF16 is needed here",
                checkpoint_.path(), full_name, quant::dtype_name(info->dtype));
  }
  used_.insert(full_name);
  return *info;
}

bool TensorFinder::has(const std::string& name) const {
  constexpr const char* kSuffixes[] = {"", ".weight", ".qweight", ".weight_packed"};
  return std::any_of(std::begin(kSuffixes), std::end(kSuffixes),
                     [&](const char* suffix) { return find(name + suffix) != nullptr; });
}

const format::TensorInfo* TensorFinder::find(const std::string& name) const {
  return checkpoint_.find(prefix_ + name);
}

bool TensorFinder::may_stay_unused(std::string_view name) const {
  if (config_.tied_embeddings && starts_with_any(name, names_.heads)) return true;
  if (starts_with_any(name, kOptional) || name.ends_with(".rotary_emb.inv_freq")) return true;
  for (int i = 0; i < config_.prediction_layers; ++i) {
    if (name.starts_with(prefix_ + numbered(names_.layer, config_.layers + i))) return true;
  }
  return false;
}

std::vector<std::string> TensorFinder::unused() const {
  std::vector<std::string> result;
  for (const format::TensorInfo& tensor : checkpoint_.tensors()) {
    if (used_.contains(tensor.name)) continue;
    if (!notes_.contains(tensor.name) && !may_stay_unused(tensor.name)) {
      throw_error(ErrorCode::kUnsupported,
                  "{}: tensor '{}' is not part of this architecture as flashmoe knows it; running "
                  "without it could give wrong text",
                  checkpoint_.path(), tensor.name);
    }
    result.push_back(tensor.name);
  }
  return result;
}

}  // namespace flashmoe::model
