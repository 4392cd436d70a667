// Loads dense weights into one piece of memory: a list of what goes where, then the reading in
// bounded pieces. Knows files and layouts, not what the weights mean.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "base/aligned_buffer.h"
#include "format/checkpoint.h"
#include "format/content_reader.h"
#include "kernels/backend.h"

namespace flashmoe::model {

// Consecutive rows of a matrix in its file.
struct RowRun {
  int64_t begin;
  int64_t count;
};

// w, 1 + w, -exp(w), or the rows of a matrix as columns (first dimension to last)
enum class Transform { kNone, kPlusOne, kNegativeExp, kTranspose };

class DenseLoader {
 public:
  explicit DenseLoader(const kernels::Backend& backend) : backend_(backend) {}

  // Each target's format and shape are set at once, its data by `load`.
  void add_matrix(const format::MatrixInfo& source, kernels::Matrix* target) {
    add_rows(source, {{0, source.rows}}, target);
  }
  // The rows of `source` that the runs name, in their order.
  void add_rows(const format::MatrixInfo& source, std::vector<RowRun> runs,
                kernels::Matrix* target);
  // All elements of a tensor as float32.
  void add_vector(const format::TensorInfo& source, Transform transform, const float** target);
  void add_computed(std::vector<float> values, const float** target);
  void add_alias(const float* const* source, const float** target) {
    aliases_.push_back({source, target});
  }

  size_t prepared_bytes() const { return prepared_bytes_; }
  uint64_t file_bytes() const { return file_bytes_; }
  // Of the largest matrix that is not stored in rows: `load` holds it besides its staging memory.
  size_t stored_bytes() const;
  const format::MatrixInfo* source(const kernels::Matrix& target) const;

  // Returns the memory that the targets now point into. `progress` may be empty; it is called after
  // each piece, and what it throws ends the loading.
  AlignedBuffer load(const format::ContentReader& files, kernels::Backend& backend,
                     size_t staging_bytes,
                     const std::function<void(uint64_t, uint64_t)>& progress) const;

 private:
  struct MatrixItem {
    format::MatrixInfo source;
    std::vector<RowRun> runs;
    kernels::Matrix* target;
    size_t offset;
  };
  struct VectorItem {
    format::TensorInfo source;
    Transform transform;
    std::vector<float> computed;  // instead of a source
    const float** target;
    size_t offset;
    int64_t count;
  };
  struct Alias {
    const float* const* source;
    const float** target;
  };

  size_t place(size_t bytes);
  static uint64_t item_bytes(const MatrixItem& item);  // in the file

  const kernels::Backend& backend_;
  std::vector<MatrixItem> matrices_;
  std::vector<VectorItem> vectors_;
  std::vector<Alias> aliases_;
  size_t prepared_bytes_ = 0;
  uint64_t file_bytes_ = 0;
  std::map<std::string, uint64_t> rows_added_;  // by the source's name
};

}  // namespace flashmoe::model
