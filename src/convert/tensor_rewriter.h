// Carries tensors from the source into a writer: rounds their rows on all threads, a bounded piece
// at a time. Owns the buffers.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/thread_pool.h"
#include "convert/importance.h"
#include "convert/mlx_tensors.h"
#include "convert/row_reader.h"
#include "format/safetensors_writer.h"
#include "quant/fit.h"

namespace flashmoe::convert {

class TensorRewriter {
 public:
  // How matrices that are quantised find their codes.
  struct Rounding {
    bool fitted = false;           // by quant/fit.h, else by quant/encode.h
    const Importance& importance;  // of the inputs; may be empty
    bool tied_embeddings = false;  // the embedding is the head, too
  };

  // All must outlive this. `on_read` is told, on the calling thread, of source bytes dealt with.
  TensorRewriter(const format::Checkpoint& source, ThreadPool& pool,
                 format::SafetensorsWriter& writer, const Rounding& rounding,
                 std::function<void(uint64_t bytes)> on_read);

  // Throws Error kIo, kCorrupt for weights that are not finite, kCancelled after a stop signal.
  void write(const MlxTensor& tensor);

 private:
  struct Parts {
    std::byte* codes;
    std::byte* scales;
    std::byte* biases;
  };
  using Fitters = std::vector<std::unique_ptr<quant::RowFitter>>;

  // For members [first, first + count) of a stack, or for the only one.
  Fitters make_fitters(const MlxTensor& tensor, int64_t first, int64_t count);
  // Rows [first, first + rows) of the whole stack; fitters[i] is for the i-th member from that of
  // row `fitted_row` on. No fitters: plain rounding.
  void convert(const MlxTensor& tensor, int64_t first, int64_t rows, Parts parts,
               const Fitters& fitters, int64_t fitted_row) const;

  RowReader reader_;
  ThreadPool& pool_;
  format::SafetensorsWriter& writer_;
  const Rounding rounding_;
  const quant::GroupLoops& loops_;  // of this processor
  std::function<void(uint64_t)> on_read_;
  std::vector<std::byte> codes_[2];  // one is filled while the other is written
};

}  // namespace flashmoe::convert
