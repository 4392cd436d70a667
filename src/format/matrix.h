// From tensors to matrices: which of a checkpoint's tensors form one weight matrix and what their
// numbers mean. Owns the choice between conventions, each of which has its own *_matrix.cc.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "format/checkpoint.h"
#include "format/quantization.h"

namespace flashmoe::format {

// Checkpoint::find_matrix; messages name the files of `checkpoint`.
std::optional<MatrixInfo> resolve_matrix(const Checkpoint& checkpoint,
                                         const QuantizationConfig& quantization,
                                         std::string_view prefix,
                                         std::optional<int64_t> expected_cols);

}  // namespace flashmoe::format
