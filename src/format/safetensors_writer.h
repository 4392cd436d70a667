// Writes a checkpoint's weights as safetensors files with an index. Owns the cut into files, the
// headers and that the set appears whole or not at all; the data passes through and is not kept.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/atomic_file.h"
#include "quant/format.h"

namespace flashmoe::format {

class SafetensorsWriter {
 public:
  struct Tensor {
    std::string name;  // unique; UTF-8
    quant::DType dtype = quant::DType::kF32;
    std::vector<int64_t> shape;  // outermost first
  };
  struct Options {
    uint64_t max_shard_bytes = 5'000'000'000;  // of data in one file, unless one tensor has more
    std::string format = "mlx";                // whose conventions the tensors follow: "mlx", "pt"
  };

  // `tensors` in the order in which their data will come. The folder must exist.
  SafetensorsWriter(const std::string& folder, std::vector<Tensor> tensors, Options options);
  SafetensorsWriter(const std::string& folder, std::vector<Tensor> tensors);

  // The next bytes of the tensors' data; a piece may end anywhere. Throws Error kIo.
  void write(std::span<const std::byte> bytes);
  // Once all data is written: gives the files their names, the index last. A writer destroyed
  // before leaves nothing.
  void finish();

 private:
  struct Shard {
    std::string name;
    size_t begin = 0;  // tensors [begin, end)
    size_t end = 0;
    uint64_t bytes = 0;  // of data
  };

  void cut(uint64_t max_shard_bytes);
  void start_shard();
  std::string index() const;

  std::string folder_;
  std::vector<Tensor> tensors_;
  Options options_;
  std::vector<Shard> shards_;
  std::vector<std::unique_ptr<AtomicFile>> files_;  // of the shards begun
  uint64_t left_bytes_ = 0;                         // of the shard being written
};

// The first bytes of a file with these tensors, up to where their data starts: at a multiple of 8.
std::string safetensors_header(std::span<const SafetensorsWriter::Tensor> tensors,
                               const std::string& format);

}  // namespace flashmoe::format
