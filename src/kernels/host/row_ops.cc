#include "kernels/host/row_ops.h"

#include <cstddef>

#include "base/half.h"
#include "quant/decode.h"

namespace flashmoe::kernels::host {
namespace {

// [n] f16 at any address to float32.
inline void widen_f16(const std::byte* from, int64_t n, float* out) {
  quant::widen(quant::DType::kF16, n, from, out);
}

}  // namespace
}  // namespace flashmoe::kernels::host

#define FLASHMOE_ROW_OPS kScalarRowOps
#define FLASHMOE_ROW_OPS_NAME "scalar"
#include "kernels/host/row_ops.inc"
