// One view of a model's files, whatever their format: name -> type, shape, extents. Owns the parsed
// headers and config; reads no weights itself, and knows nothing of models.
#pragma once

#include <cstdint>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "format/file_records.h"
#include "quant/format.h"
#include "quant/storage.h"

namespace flashmoe::format {

// A run of bytes in the content of one of the checkpoint's files.
struct Extent {
  int file = -1;  // index into Checkpoint::files()
  uint64_t offset = 0;
  uint64_t bytes = 0;
};

// A tensor as it lies in a file.
struct TensorInfo {
  std::string name;
  quant::DType dtype = quant::DType::kOther;
  std::vector<int64_t> shape;  // outermost first; may be empty (a scalar) or hold zeros
  Extent extent;
  std::string dtype_name;  // as in the file: tells apart the types behind kOther
  // Where the slices along the first dimension do not follow each other (experts in records): the
  // bytes from one to the next. `extent` then begins at the first one, and its size is that of all
  // without the gaps. 0: the tensor is contiguous.
  uint64_t slice_stride = 0;
  // Of a whole matrix, or a stack, whose rows are interleaved (quant/interleaved.h): its format.
  // The bytes are those of all its parts, `shape` counts weights.
  std::optional<quant::Format> interleaved{};
};

// The tensor's bytes in order: its extent, or one for each slice.
std::vector<Extent> contiguous_extents(const TensorInfo& tensor);

// A weight matrix, or a stack of them: what a matrix product takes. Its parts may be several
// tensors of the file (`X.weight`, `X.scales`, `X.biases`), in an order of their own (storage).
struct MatrixInfo {
  std::string name;  // without ".weight"
  quant::Format format;
  int64_t count = 1;  // leading dimensions multiplied, e.g. experts; 1 for a plain matrix
  int64_t rows = 0;   // outputs
  int64_t cols = 0;   // inputs
  Extent codes, scales, biases;  // of all `count` matrices, row-major unless storage says otherwise
  quant::Storage storage{};
  Extent group_of_input;             // of permuted formats
  std::vector<std::string> tensors;  // the names of all that belong to it
  uint64_t stride = 0;  // from one matrix's part to the next one's; 0: they follow each other

  void add_part(Extent MatrixInfo::*part, const TensorInfo& tensor) {
    this->*part = tensor.extent;
    tensors.push_back(tensor.name);
  }
  uint64_t file_bytes() const {
    return codes.bytes + scales.bytes + biases.bytes + group_of_input.bytes;
  }
};

class Checkpoint {
 public:
  // Opens a folder in Hugging Face layout, config.json and *.safetensors, or a .gguf file (any part
  // of a split one, which brings the others along). Reads the headers only. Throws Error with file
  // and tensor for whatever is missing, half-downloaded, damaged or contradictory. A tensor of an
  // unsupported type is no obstacle before find_matrix asks for it.
  static std::unique_ptr<Checkpoint> open(const std::string& path);
  virtual ~Checkpoint() = default;

  virtual const std::string& path() const = 0;  // the folder; of GGUF, the (first) file
  virtual const std::vector<std::string>& files() const = 0;  // paths of the weight files
  // config.json; of GGUF, the metadata by key ("qwen3moe.block_count").
  virtual const nlohmann::json& config() const = 0;
  virtual const std::vector<TensorInfo>& tensors() const = 0;  // sorted by name

  // nullptr where the format has no records: the file's bytes are its content.
  virtual const FileRecords* records(int file) const {
    static_cast<void>(file);
    return nullptr;
  }
  // Reads the files beside the weights (configuration, tokenizer) and throws Error kCorrupt for one
  // that does not have its checksum. Does nothing where there are none.
  virtual void check_companions() const {}
  // What the user should know of how this folder was understood.
  virtual std::vector<std::string> notes() const { return {}; }

  // nullptr when there is no such tensor.
  virtual const TensorInfo* find(std::string_view name) const = 0;
  // The matrix behind `prefix`.weight (or a tensor named `prefix` itself, as fused experts are),
  // with its quantisation resolved from the tensors' shapes and config.json. `expected_cols`,
  // where the caller knows it, is checked, and tells apart quantisations that have the same shapes
  // (8-bit with group 32 and 4-bit with group 64, of half as many columns) when config.json does
  // not. nullopt when absent; Error when its parts or shapes contradict each other, or its type or
  // quantisation is not supported.
  std::optional<MatrixInfo> find_matrix(std::string_view prefix,
                                        std::optional<int64_t> expected_cols = {}) const {
    return resolve_matrix(prefix, expected_cols);
  }

 private:
  virtual std::optional<MatrixInfo> resolve_matrix(std::string_view prefix,
                                                   std::optional<int64_t> expected_cols) const = 0;
};

}  // namespace flashmoe::format
