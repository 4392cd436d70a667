#include "format/matrix_tensors.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

namespace flashmoe::format {

using quant::DType;

bool is_float(DType type) {
  return type == DType::kF32 || type == DType::kF16 || type == DType::kBf16;
}

std::string shape_text(const TensorInfo& tensor) {
  return fmt::format("{} [{}]", tensor.dtype_name, fmt::join(tensor.shape, ", "));
}

const TensorInfo& MatrixTensors::part(const char* suffix, std::initializer_list<DType> types,
                                      const std::vector<int64_t>& shape) const {
  const TensorInfo* tensor = part(suffix);
  if (tensor == nullptr) {
    throw_error(ErrorCode::kCorrupt, "{}: tensor {}{} is missing", checkpoint_.path(), prefix_,
                suffix);
  }
  const bool type_fits = std::find(types.begin(), types.end(), tensor->dtype) != types.end();
  if (!type_fits || tensor->shape != shape) {
    std::vector<std::string> names;
    for (DType type : types) names.emplace_back(quant::dtype_name(type));
    fail(ErrorCode::kCorrupt, *tensor,
         fmt::format("{} should be {} [{}]", shape_text(*tensor), fmt::join(names, " or "),
                     fmt::join(shape, ", ")));
  }
  return *tensor;
}

void MatrixTensors::fail(ErrorCode code, const TensorInfo& tensor, const std::string& what) const {
  const auto file = static_cast<size_t>(tensor.extent.file);
  throw_error(code, "{}: tensor {}: {}", checkpoint_.files()[file], tensor.name, what);
}

void MatrixTensors::refuse(const TensorInfo& tensor, const std::string& what) const {
  fail(ErrorCode::kUnsupported, tensor,
       fmt::format("{}{} is not supported; supported are F32, F16, BF16, MLX (affine, mxfp4, "
                   "mxfp8, nvfp4), fp8 (e4m3), GPTQ, AWQ (gemm) and compressed-tensors "
                   "(pack-quantized, float-quantized)",
                   what, method_text()));
}

std::string MatrixTensors::method_text() const {
  if (quantization_.method.empty()) return "";
  return fmt::format(" (quant_method {})", quantization_.method);
}

void MatrixTensors::check_plane(const TensorInfo& tensor) const {
  if (tensor.shape.size() != 2) {
    fail(ErrorCode::kCorrupt, tensor,
         fmt::format("{} should have 2 dimensions", shape_text(tensor)));
  }
  for (int64_t n : tensor.shape) {
    if (n == 0) fail(ErrorCode::kCorrupt, tensor, fmt::format("{} is empty", shape_text(tensor)));
    if (n > kMaxCols) {
      fail(ErrorCode::kCorrupt, tensor, fmt::format("{} is too wide", shape_text(tensor)));
    }
  }
}

MatrixInfo MatrixTensors::start(const TensorInfo& weight) const {
  if (weight.shape.size() < 2) {
    fail(ErrorCode::kCorrupt, weight,
         fmt::format("{} is not a matrix, which has 2 dimensions or more", shape_text(weight)));
  }
  if (std::find(weight.shape.begin(), weight.shape.end(), 0) != weight.shape.end()) {
    fail(ErrorCode::kCorrupt, weight, fmt::format("{} is empty", shape_text(weight)));
  }
  if (weight.shape.back() > kMaxCols) {
    fail(ErrorCode::kCorrupt, weight, fmt::format("{} is too wide", shape_text(weight)));
  }
  MatrixInfo matrix;
  matrix.name = prefix_;
  for (size_t i = 0; i + 2 < weight.shape.size(); ++i) matrix.count *= weight.shape[i];
  matrix.rows = weight.shape[weight.shape.size() - 2];
  matrix.codes = weight.extent;
  matrix.stride = weight.slice_stride;
  return matrix;
}

MatrixInfo MatrixTensors::start(int64_t rows, int64_t cols, const quant::Format& format,
                                const quant::Storage& storage) const {
  MatrixInfo matrix;
  matrix.name = prefix_;
  matrix.format = format;
  matrix.storage = storage;
  matrix.rows = rows;
  matrix.cols = cols;
  return matrix;
}

quant::Format zero_point_format(const MatrixTensors& tensors, const TensorInfo& codes, DType scales,
                                int bits, int64_t file_group, int64_t cols) {
  quant::Format format{quant::Encoding::kAffine, scales, bits, 0};
  format.zero_points = true;
  for (int group : {128, 64, 32}) {
    if (cols % group == 0 && (file_group % group == 0 || file_group >= cols)) {
      format.group = group;
      return format;
    }
  }
  tensors.refuse(codes, fmt::format("a scale for {} of {} inputs", file_group, cols));
}

}  // namespace flashmoe::format
