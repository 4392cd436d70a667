// The header of a GGUF file, versions 2 and 3: metadata (keys and values), the tensors'
// descriptions, padding; then the tensors' data. Owns every check that needs one file alone;
// gguf_checkpoint.h puts the parts of a model together.
#pragma once

#include <cstdint>
#include <functional>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "format/checkpoint.h"

namespace flashmoe::format {

constexpr uint64_t kMaxGgufHeaderBytes = uint64_t{1} << 30;
constexpr uint64_t kMaxGgufStringBytes = uint64_t{1} << 26;
constexpr uint64_t kMaxGgufElements = uint64_t{1} << 24;  // of all kept arrays together
constexpr uint64_t kMaxGgufCount = uint64_t{1} << 20;     // of keys, of tensors

struct GgufHeader {
  uint32_t version = 0;
  nlohmann::json metadata = nlohmann::json::object();  // by key; strings may be any bytes
  std::vector<TensorInfo> tensors;                     // in the file's order
  uint64_t metadata_end = 0;                           // where the tensors' descriptions begin
  uint64_t data_offset = 0;
};

// Which arrays of the metadata are wanted, by key. Others are read over: a vocabulary takes some
// ten million bytes.
using KeepArray = std::function<bool(std::string_view key)>;
// `bytes` bytes at `offset`, which lie within the file.
using ReadBytes = std::function<std::string(uint64_t offset, uint64_t bytes)>;

// Throws Error kCorrupt with path and offset or tensor unless all is complete, of a known type and
// the tensors' data follow each other without overlap or hole; kUnsupported for other versions and
// types. Extents are of file number `file`.
GgufHeader parse_gguf_header(const ReadBytes& read, uint64_t file_bytes, const std::string& path,
                             int file, const KeepArray& keep);

// Opens the file and does it.
GgufHeader read_gguf_header(const std::string& path, int file, const KeepArray& keep);

// A GGUF file with the metadata of the one at `path` and no tensors.
std::string gguf_without_tensors(const std::string& path);

}  // namespace flashmoe::format
