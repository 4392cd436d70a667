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

// [n] f16 at any address to float32.
inline void widen_f16(const std::byte* from, int64_t n, float* out) {
  int64_t i = 0;
  for (; i + 8 <= n; i += 8) {
    const uint8x16_t bytes = vld1q_u8(reinterpret_cast<const uint8_t*>(from + 2 * i));
    const float16x8_t halves = vreinterpretq_f16_u8(bytes);
    vst1q_f32(out + i, vcvt_f32_f16(vget_low_f16(halves)));
    vst1q_f32(out + i + 4, vcvt_high_f32_f16(halves));
  }
  quant::widen(quant::DType::kF16, n - i, from + 2 * i, out + i);
}

// The 16 floats at `from` to `to`: there is no way past the caches here.
inline void stream16(const std::byte* from, float* to) {
  __builtin_memcpy(to, from, 16 * sizeof(float));
}
inline void stream_fence() {}

constexpr int kRegisterFloats = 4;

}  // namespace
}  // namespace flashmoe::kernels::host

#define FLASHMOE_ROW_OPS kNeonRowOps
#define FLASHMOE_ROW_OPS_NAME "neon"
#include "kernels/host/row_ops.inc"
