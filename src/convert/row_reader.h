// Rows of a tensor to be written, as float32, from whatever the source stores them as. Owns the
// open files, and the matrices that cannot be read row by row while their rows are asked for.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <utility>
#include <vector>

#include "base/thread_pool.h"
#include "convert/mlx_tensors.h"
#include "format/checkpoint.h"
#include "format/content_reader.h"

namespace flashmoe::convert {

class RowReader {
 public:
  // The checkpoint must outlive this.
  explicit RowReader(const format::Checkpoint& source);

  // To be called before rows [first, first + count) are read: brings in the matrices among them
  // that are stored in another order than row by row or compressed, and lets go of all others.
  // Throws Error kIo, kCorrupt.
  void hold(const MlxTensor& tensor, int64_t first, int64_t count, ThreadPool& pool);
  // Tells the system that rows [first, first + count) will soon be read, so that it begins to.
  void expect(const MlxTensor& tensor, int64_t first, int64_t count) const;
  // out [count, tensor.cols]. Any threads at once. Throws Error kIo; kCorrupt for a quantised
  // weight that is not finite.
  void read(const MlxTensor& tensor, int64_t first, int64_t count, float* out) const;
  // The same rows as the source's format has them, of a storage that keeps_rows.
  void copy(const MlxTensor& tensor, int64_t first, int64_t count, std::byte* codes,
            std::byte* scales, std::byte* biases) const;

 private:
  // One matrix of a stack, as it lies in its file.
  struct Held {
    std::vector<std::byte> codes, scales, biases;
    std::vector<int32_t> order;  // of permuted formats
  };
  using Key = std::pair<size_t, int64_t>;  // which of the tensor's matrices, which of its stack

  bool must_hold(const format::MatrixInfo& matrix) const;
  Held load(const format::MatrixInfo& matrix, int64_t member) const;
  const Held* held(const Key& key) const;  // nullptr if it can be read row by row
  // The parts of rows [first, first + count) of one matrix of a stack.
  void read_parts(const format::MatrixInfo& matrix, const Held* held, int64_t member, int64_t first,
                  int64_t count, std::byte* codes, std::byte* scales, std::byte* biases) const;
  // The same as numbers, in the source's order of inputs.
  void read_rows(const MlxTensor& tensor, size_t matrix, int64_t member, int64_t first,
                 int64_t count, float* out) const;

  const format::Checkpoint& source_;
  const format::ContentReader reader_;
  const MlxTensor* tensor_ = nullptr;  // that held_ is of
  std::map<Key, Held> held_;
};

}  // namespace flashmoe::convert
