// The types of GGUF tensors: ids, names and sizes, as ggml numbers them. What their blocks hold is
// quant's.
#pragma once

#include <cstdint>

#include "quant/format.h"

namespace flashmoe::format {

struct GgufType {
  uint32_t id;
  const char* name;
  uint32_t block_weights;  // consecutive weights of a row that are stored together
  uint32_t block_bytes;
  quant::DType dtype;  // kOther for types with blocks
};

// nullptr for ids that are unknown or were given up.
const GgufType* find_gguf_type(uint32_t id);

}  // namespace flashmoe::format
