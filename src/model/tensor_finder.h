// Finds a model's tensors in a checkpoint by the names that its layers go by, checks their
// shapes, and keeps account of which were asked for. Owns nothing of the checkpoint.
#pragma once

#include <cstdint>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "format/checkpoint.h"
#include "model/config.h"
#include "model/tensor_names.h"

namespace flashmoe::model {

class TensorFinder {
 public:
  // Finds out what the tensors are called and under which prefix the text model lies ("model.",
  // "language_model.model.", …).
  TensorFinder(const format::Checkpoint& checkpoint, const ModelConfig& config);

  const TensorNames& names() const { return names_; }
  // Whether norms and the convolution's axes are as MLX has them: it adds 1 to the norms and moves
  // the axes in the same conversion, which tells it from Hugging Face; without a convolution the
  // names of the experts do.
  bool is_mlx() const;

  // `name` is below the prefix, e.g. "layers.3.mlp.gate". Each throws Error naming the tensor
  // when it is missing or has another shape. For vectors, dimensions of 1 do not count.
  format::MatrixInfo matrix(const std::string& name, int64_t rows, int64_t cols, int64_t count = 1);
  const format::TensorInfo& vector(const std::string& name, std::vector<int64_t> shape);
  format::MatrixInfo head(int64_t rows, int64_t cols);

  // Whether there is a tensor or matrix of this name.
  bool has(const std::string& name) const;
  const format::TensorInfo* find(const std::string& name) const;

  // The tensors that are not read. Those of prediction heads and vision towers may stay unused, and
  // those that only say of a matrix what else tells as well (its shape, an order that is none); any
  // other is an Error, since ignoring a part of the trunk would give wrong text.
  std::vector<std::string> unused() const;
  const std::string& checkpoint_path() const { return checkpoint_.path(); }

 private:
  format::MatrixInfo checked(const std::string& full_name, int64_t rows, int64_t cols,
                             int64_t count);

  // Whether `tensor`, one of those that belong to the matrix, holds a part of it.
  bool is_read(const format::MatrixInfo& matrix, const std::string& tensor) const;
  bool may_stay_unused(std::string_view name) const;

  const format::Checkpoint& checkpoint_;
  const ModelConfig& config_;
  TensorNames names_;
  std::string prefix_;
  std::set<std::string, std::less<>> used_, notes_;
};

}  // namespace flashmoe::model
