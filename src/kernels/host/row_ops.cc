#include "kernels/host/row_ops.h"

#include <cstddef>
#include <utility>

#include "base/half.h"
#include "quant/decode.h"

namespace flashmoe::kernels::host {
namespace {

// 16 f16 at any address to float32.
template <typename Vector>
inline void widen16(const std::byte* from, Vector* out) {
  float wide[16];
  quant::widen(quant::DType::kF16, 16, from, wide);
  __builtin_memcpy(out, wide, sizeof(wide));
}

// The 16 floats at `from` to `to`: there is no way past the caches here.
inline void stream16(const std::byte* from, float* to) {
  __builtin_memcpy(to, from, 16 * sizeof(float));
}
inline void stream_fence() {}

constexpr int kRegisterFloats = 4;

// a * b + sum, rounded once.
template <typename Vector>
inline Vector multiply_add(const Vector& a, const Vector& b, Vector sum) {
  for (int i = 0; i < kRegisterFloats; ++i) sum[i] = __builtin_fmaf(a[i], b[i], sum[i]);
  return sum;
}

}  // namespace
}  // namespace flashmoe::kernels::host

#define FLASHMOE_ROW_OPS kScalarRowOps
#define FLASHMOE_ROW_OPS_NAME "scalar"
#include "kernels/host/row_ops.inc"
