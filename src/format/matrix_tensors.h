// The tensors behind one matrix, for those who find out what they mean: by name, with their types
// and shapes checked, and messages that name file and tensor. Private to *_matrix.cc; reads no
// files.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "format/checkpoint.h"
#include "format/quantization.h"

namespace flashmoe::format {

constexpr int64_t kMaxCols = int64_t{1} << 40;  // keeps products of sizes within int64_t

inline int64_t divided_up(int64_t n, int64_t by) { return (n + by - 1) / by; }
bool is_float(quant::DType type);                  // F32, F16 or BF16
std::string shape_text(const TensorInfo& tensor);  // "BF16 [3, 5]"

class MatrixTensors {
 public:
  MatrixTensors(const Checkpoint& checkpoint, const QuantizationConfig& quantization,
                std::string_view prefix, std::optional<int64_t> expected_cols)
      : checkpoint_(checkpoint),
        quantization_(quantization),
        prefix_(prefix),
        expected_cols_(expected_cols) {}

  const std::string& prefix() const { return prefix_; }
  const QuantizationConfig& quantization() const { return quantization_; }
  std::optional<int64_t> expected_cols() const { return expected_cols_; }

  // The tensor `prefix` + suffix, or nullptr.
  const TensorInfo* part(const char* suffix) const { return checkpoint_.find(prefix_ + suffix); }
  // The same, of one of the types and of this shape; Error when it is not there or is different.
  const TensorInfo& part(const char* suffix, std::initializer_list<quant::DType> types,
                         const std::vector<int64_t>& shape) const;

  [[noreturn]] void fail(ErrorCode code, const TensorInfo& tensor, const std::string& what) const;
  // `what` is not supported, and what is.
  [[noreturn]] void refuse(const TensorInfo& tensor, const std::string& what) const;
  std::string method_text() const;  // " (quant_method fp8)" where config.json names a method

  // Two positive sizes that keep every product within int64_t.
  void check_plane(const TensorInfo& tensor) const;
  // Name, extent and leading shape of a matrix whose rows are in `weight`.
  MatrixInfo start(const TensorInfo& weight) const;
  // A matrix of other tools' storage: its shape and format, no parts yet.
  MatrixInfo start(int64_t rows, int64_t cols, const quant::Format& format,
                   const quant::Storage& storage) const;

 private:
  const Checkpoint& checkpoint_;
  const QuantizationConfig& quantization_;
  const std::string prefix_;
  const std::optional<int64_t> expected_cols_;
};

// The format of codes with zero points that a file scales in groups of `file_group` inputs.
quant::Format zero_point_format(const MatrixTensors& tensors, const TensorInfo& codes,
                                quant::DType scales, int bits, int64_t file_group, int64_t cols);

// One for each convention. `codes` is the tensor by which the convention was told.
MatrixInfo resolve_mlx(const MatrixTensors& tensors, const TensorInfo& weight,
                       const TensorInfo& scales);
MatrixInfo resolve_fp8(const MatrixTensors& tensors, const TensorInfo& weight);
MatrixInfo resolve_gptq(const MatrixTensors& tensors, const TensorInfo& codes);
MatrixInfo resolve_awq(const MatrixTensors& tensors, const TensorInfo& codes);
MatrixInfo resolve_packed(const MatrixTensors& tensors, const TensorInfo& codes);

}  // namespace flashmoe::format
