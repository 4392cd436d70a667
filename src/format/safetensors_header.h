// The header of a safetensors file: 8 bytes of length (little-endian), that many bytes of JSON,
// then the tensors' data. Owns every check that needs one file alone; works on memory.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "format/checkpoint.h"

namespace flashmoe::format {

constexpr uint64_t kSafetensorsPrefixBytes = 8;
constexpr uint64_t kMaxSafetensorsHeaderBytes = 100'000'000;  // the safetensors library's limit

// Length of the JSON from the file's first bytes (fewer than 8 only if the file is shorter).
// Throws Error kCorrupt when it cannot be right for a file of `file_bytes`.
uint64_t safetensors_json_bytes(std::string_view prefix, uint64_t file_bytes,
                                const std::string& path);

// The tensors that the JSON describes, in its order (by name); extents are of file number `file`,
// counted from its start. Throws Error kCorrupt with path and tensor unless shapes and types give
// exactly the byte ranges, and these fill the rest of the file without overlap or hole.
std::vector<TensorInfo> parse_safetensors_json(std::string_view json, uint64_t file_bytes,
                                               const std::string& path, int file);

// Opens the file and does both.
std::vector<TensorInfo> read_safetensors_header(const std::string& path, int file);

}  // namespace flashmoe::format
