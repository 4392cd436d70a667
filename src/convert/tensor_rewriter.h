// Carries tensors from the source's files into a writer: reads rows, rounds them, on all threads,
// a bounded piece at a time. Owns the buffers.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "base/thread_pool.h"
#include "convert/mlx_tensors.h"
#include "format/safetensors_writer.h"
#include "io/file.h"

namespace flashmoe::convert {

class TensorRewriter {
 public:
  // All must outlive this. `on_read` is told, on the calling thread, of source bytes dealt with.
  TensorRewriter(const std::vector<io::File>& files, ThreadPool& pool,
                 format::SafetensorsWriter& writer, std::function<void(uint64_t bytes)> on_read);

  // Throws Error kIo, kCorrupt for weights that are not finite, kCancelled after a stop signal.
  void write(const MlxTensor& tensor);

 private:
  struct Parts {
    std::byte* codes;
    std::byte* scales;
    std::byte* biases;
  };
  void convert(const MlxTensor& tensor, int64_t first, int64_t rows, Parts parts) const;

  const std::vector<io::File>& files_;
  ThreadPool& pool_;
  format::SafetensorsWriter& writer_;
  std::function<void(uint64_t)> on_read_;
  std::vector<std::byte> codes_[2];  // one is filled while the other is written
};

}  // namespace flashmoe::convert
