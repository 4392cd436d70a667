#include "kernels/host/row_ops.h"

#include <cstddef>
#include <utility>

#include "base/half.h"
#include "quant/decode.h"

namespace flashmoe::kernels::host {
namespace {

// [n] f16 at any address to float32.
inline void widen_f16(const std::byte* from, int64_t n, float* out) {
  quant::widen(quant::DType::kF16, n, from, out);
}

// The 16 floats at `from` to `to`: there is no way past the caches here.
inline void stream16(const std::byte* from, float* to) {
  __builtin_memcpy(to, from, 16 * sizeof(float));
}
inline void stream_fence() {}

constexpr int kRegisterFloats = 4;

}  // namespace
}  // namespace flashmoe::kernels::host

#define FLASHMOE_ROW_OPS kScalarRowOps
#define FLASHMOE_ROW_OPS_NAME "scalar"
#include "kernels/host/row_ops.inc"
