// The types of GGUF tensors by their ids in the file. What their blocks hold is quant's.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "quant/format.h"

namespace flashmoe::format {

struct GgufType {
  const char* name;
  int block_inputs;  // consecutive numbers of a row that are stored together
  int block_bytes;
  quant::DType dtype;  // kOther for types with blocks
};

// nullopt for ids that are unknown or were given up.
std::optional<GgufType> gguf_type(uint32_t id);
// The format of a matrix by its type's name; nullopt for types that no matrix is stored as.
std::optional<quant::Format> gguf_format(std::string_view type_name);

}  // namespace flashmoe::format
