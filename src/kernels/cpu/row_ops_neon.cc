// The row operations with the processor's own conversion of f16; see row_ops.inc. Baseline code for
// arm64 has vectors and this conversion already, so nothing here asks for more.
#include <arm_neon.h>

#include <cstddef>
#include <utility>

#include "base/half.h"
#include "kernels/host/row_ops.h"
#include "quant/decode.h"

namespace flashmoe::kernels::host {
namespace {

// 16 f16 at any address to float32.
template <typename Vector>
inline void widen16(const std::byte* from, Vector* out) {
  for (int i = 0; i < 2; ++i) {
    const uint8x16_t bytes = vld1q_u8(reinterpret_cast<const uint8_t*>(from + 16 * i));
    const float16x8_t halves = vreinterpretq_f16_u8(bytes);
    out[2 * i] = vcvt_f32_f16(vget_low_f16(halves));
    out[2 * i + 1] = vcvt_high_f32_f16(halves);
  }
}

// The 16 floats at `from` to `to`: there is no way past the caches here.
inline void stream16(const std::byte* from, float* to) {
  __builtin_memcpy(to, from, 16 * sizeof(float));
}
inline void stream_fence() {}

// a * b + sum, rounded once.
inline float32x4_t multiply_add(float32x4_t a, float32x4_t b, float32x4_t sum) {
  return vfmaq_f32(sum, a, b);
}

constexpr int kRegisterFloats = 4;

}  // namespace
}  // namespace flashmoe::kernels::host

#define FLASHMOE_ROW_OPS kNeonRowOps
#define FLASHMOE_ROW_OPS_NAME "neon"
#include "kernels/host/row_ops.inc"
