// The manifest of a packed store, store.json: which tensors lie where in which file, and every
// byte's checksum. docs/store-format.md describes it. Owns its text and every check that needs the
// manifest alone; works on memory.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "format/checkpoint.h"

namespace flashmoe::format {

constexpr int kStoreVersion = 2;  // 1 had no interleaved parts
constexpr const char* kStoreManifestName = "store.json";
constexpr const char* kStoreChecksumName = "store.xxh3";  // of store.json: 16 digits and a newline
constexpr const char* kStoreSafetensors = "safetensors";  // conventions
constexpr const char* kStoreGguf = "gguf";
constexpr const char* kStoreMetadataName = "metadata.gguf";  // a GGUF file without tensors
constexpr uint64_t kMaxStoreExperts = uint64_t{1} << 16;     // of one layer
constexpr uint64_t kMaxStoreTensors = uint64_t{1} << 23;     // of a model, each expert's counted

struct StoreManifest {
  // A tensor of the dense part.
  struct Tensor {
    std::string name, dtype;
    std::vector<int64_t> shape;  // outermost first
    uint64_t offset = 0, bytes = 0;
  };
  // What every record of a file of experts holds at the same place.
  struct Part {
    // Of one tensor with a slice for each expert (shape[0] of them), or, with `each`, the pattern
    // of the names of as many tensors: "{}" stands for the expert's number.
    std::string name, dtype;
    bool each = false;
    std::vector<int64_t> shape;
    uint64_t offset = 0, bytes = 0;  // in the record
    // Where the part is a whole matrix interleaved by rows (quant/interleaved.h), or a stack of
    // them: its format. The name is that of the tensor of its codes, `shape` counts weights.
    std::optional<quant::Format> interleaved;
  };
  struct WeightFile {
    std::string name;
    FileRecords records;
    std::vector<Tensor> tensors;  // of a file of dense tensors
    int64_t experts = 0;          // of a file of experts: one record each
    std::vector<Part> parts;
  };
  // A file that goes along with the weights as it is: configuration, tokenizer, …
  struct Companion {
    std::string name;
    uint64_t bytes = 0;
    uint64_t xxh3 = 0;
  };

  std::string convention;  // whose names and types the tensors have
  std::vector<WeightFile> weights;
  std::vector<Companion> companions;
};

// The same manifest gives the same bytes.
std::string store_manifest_text(const StoreManifest& manifest);
// Throws Error kCorrupt with `source` for whatever contradicts the format or itself, kUnsupported
// for a version that is not known.
StoreManifest parse_store_manifest(std::string_view text, const std::string& source);

// Every tensor, sorted by name; extents are in files numbered as in `manifest.weights`. `source` is
// for the Error kCorrupt of two of the same name.
std::vector<TensorInfo> store_tensors(const StoreManifest& manifest, const std::string& source);

}  // namespace flashmoe::format
