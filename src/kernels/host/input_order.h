// Where a permuted matrix keeps the order of its inputs: int32 [cols] before the layout of the
// derived class.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/backend.h"

namespace flashmoe::kernels::host {

inline size_t order_bytes(const quant::Format& format, int64_t cols) {
  return format.permuted ? (static_cast<size_t>(cols) * sizeof(int32_t) + 63) / 64 * 64 : 0;
}

inline const int32_t* order_of(const Matrix& matrix) {
  return reinterpret_cast<const int32_t*>(matrix.data);
}

inline Matrix without_order(Matrix matrix) {
  matrix.data += order_bytes(matrix.format, matrix.cols);
  return matrix;
}

}  // namespace flashmoe::kernels::host
