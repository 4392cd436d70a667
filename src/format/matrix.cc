#include "format/matrix.h"

#include <fmt/format.h>

#include "format/matrix_tensors.h"

namespace flashmoe::format {

namespace {

using quant::DType;

MatrixInfo resolve_plain(const MatrixTensors& tensors, const TensorInfo& weight) {
  const bool scaled = tensors.part(".weight_scale") != nullptr ||
                      tensors.part(".weight_scale_inv") != nullptr ||
                      tensors.part("_scale_inv") != nullptr;
  if (!is_float(weight.dtype) || scaled) {
    tensors.refuse(weight, fmt::format("its type {}{}", weight.dtype_name,
                                       scaled ? " with separate scales" : ""));
  }
  MatrixInfo matrix = tensors.start(weight);
  matrix.cols = weight.shape.back();
  matrix.format = {quant::Encoding::kPlain, weight.dtype, 0, 0};
  matrix.add_part(&MatrixInfo::codes, weight);
  return matrix;
}

// The conventions tell themselves by the names and types of their tensors.
std::optional<MatrixInfo> resolve(const MatrixTensors& tensors) {
  if (const TensorInfo* codes = tensors.part(".qweight")) {
    const std::string& method = tensors.quantization().method;
    if (method == "gptq") return resolve_gptq(tensors, *codes);
    if (method == "awq") return resolve_awq(tensors, *codes);
    tensors.refuse(*codes, "its quantisation");
  }
  if (const TensorInfo* codes = tensors.part(".weight_packed")) {
    return resolve_packed(tensors, *codes);
  }
  const TensorInfo* weight = tensors.part(".weight");
  if (weight == nullptr) weight = tensors.part("");
  if (weight == nullptr) return std::nullopt;
  if (const TensorInfo* scales = tensors.part(".scales")) {
    return resolve_mlx(tensors, *weight, *scales);
  }
  if (weight->dtype == DType::kF8E4M3) return resolve_fp8(tensors, *weight);
  return resolve_plain(tensors, *weight);
}

}  // namespace

std::optional<MatrixInfo> resolve_matrix(const Checkpoint& checkpoint,
                                         const QuantizationConfig& quantization,
                                         std::string_view prefix,
                                         std::optional<int64_t> expected_cols) {
  const MatrixTensors tensors(checkpoint, quantization, prefix, expected_cols);
  std::optional<MatrixInfo> matrix = resolve(tensors);
  if (matrix && expected_cols && matrix->cols != *expected_cols) {
    const TensorInfo& weight = *checkpoint.find(matrix->tensors.front());
    tensors.fail(ErrorCode::kCorrupt, weight,
                 fmt::format("{} has {} inputs, but config.json calls for {}", shape_text(weight),
                             matrix->cols, *expected_cols));
  }
  return matrix;
}

}  // namespace flashmoe::format
