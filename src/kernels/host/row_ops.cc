#include "kernels/host/row_ops.h"

#include <cstddef>
#include <cstring>

#include "base/half.h"

namespace flashmoe::kernels::host {
namespace {

// [n] f16 at any address to float32.
inline void widen_f16(const std::byte* from, int64_t n, float* out) {
  for (int64_t i = 0; i < n; ++i) {
    F16 half;
    std::memcpy(&half, from + 2 * i, sizeof(half));
    out[i] = to_float(half);
  }
}

}  // namespace
}  // namespace flashmoe::kernels::host

#define FLASHMOE_ROW_OPS kScalarRowOps
#define FLASHMOE_ROW_OPS_NAME "scalar"
#include "kernels/host/row_ops.inc"
