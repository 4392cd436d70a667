// compressed-tensors, format pack-quantized: X.weight_packed, X.weight_scale and, where they are
// needed, X.weight_zero_point, X.weight_g_idx, X.weight_shape.
#include <fmt/format.h>

#include <algorithm>

#include "format/method_settings.h"

namespace flashmoe::format {

using quant::DType;

namespace {

// Bits as config.json has them, for callers that do not know the inputs.
int64_t stated_bits(const MethodSettings& settings) {
  const nlohmann::json* groups = settings.find("config_groups");
  if (groups == nullptr || !groups->is_object() || groups->empty()) return 4;
  const MethodSettings group(settings, *groups->begin());
  const nlohmann::json* weights = group.find("weights");
  if (weights == nullptr) return 4;
  return std::max<int64_t>(1, MethodSettings(group, *weights).number("num_bits", 4));
}

}  // namespace

MatrixInfo resolve_packed(const MatrixTensors& tensors, const TensorInfo& codes) {
  const MethodSettings settings(tensors, codes);
  settings.refuse_transforms();
  const std::string format_name = settings.text("format", "pack-quantized");
  if (format_name != "pack-quantized" && format_name != "mixed-precision")
    settings.refuse("format");
  if (codes.dtype != DType::kI32) {
    tensors.refuse(codes, fmt::format("{} of packed codes", codes.dtype_name));
  }
  tensors.check_plane(codes);
  const TensorInfo* scales = tensors.part(".weight_scale");
  if (scales == nullptr) {
    tensors.fail(ErrorCode::kCorrupt, codes,
                 fmt::format("there is no {}.weight_scale beside it", tensors.prefix()));
  }
  tensors.check_plane(*scales);
  const int64_t rows = codes.shape[0], row_bits = codes.shape[1] * 32;
  const int64_t cols = tensors.expected_cols().value_or(row_bits / stated_bits(settings));
  const int64_t bits = cols == 0 ? 0 : row_bits / cols;
  if (cols == 0 || bits * cols != row_bits || cols % 32 != 0 ||
      (bits != 2 && bits != 3 && bits != 4 && bits != 8)) {
    tensors.refuse(codes, fmt::format("{} with {} inputs", shape_text(codes), cols));
  }
  const int64_t groups = scales->shape[1], group = divided_up(cols, groups);
  quant::Storage storage;
  storage.kind = quant::Storage::Kind::kPacked;
  storage.group = group;
  quant::Format format =
      zero_point_format(tensors, codes, scales->dtype, static_cast<int>(bits), group, cols);
  const TensorInfo* zeros = tensors.part(".weight_zero_point");
  const TensorInfo* order = tensors.part(".weight_g_idx");
  format.permuted = order != nullptr;
  MatrixInfo matrix = tensors.start(rows, cols, format, storage);
  matrix.add_part(&MatrixInfo::codes, codes);
  matrix.add_part(&MatrixInfo::scales,
                  tensors.part(".weight_scale", {DType::kF16, DType::kBf16, DType::kF32},
                               {rows, divided_up(cols, group)}));
  if (zeros != nullptr) {
    matrix.add_part(&MatrixInfo::biases, tensors.part(".weight_zero_point", {DType::kI32},
                                                      {divided_up(rows * bits, 32), groups}));
  }
  if (order != nullptr) {
    matrix.add_part(&MatrixInfo::group_of_input,
                    tensors.part(".weight_g_idx", {DType::kI32}, {cols}));
  }
  if (const TensorInfo* shape = tensors.part(".weight_shape")) {
    matrix.tensors.push_back(shape->name);  // what the matrix is multiplied with says it too
  }
  return matrix;
}

}  // namespace flashmoe::format
