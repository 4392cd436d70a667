// The row operations compiled for this instruction set; see row_ops.inc.
#if !defined(__clang__)  // false alarms out of gcc 12's own headers
#pragma GCC diagnostic ignored "-Wuninitialized"
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#endif

#include <immintrin.h>

#include <cstddef>
#include <utility>

#include "base/half.h"
#include "kernels/host/row_ops.h"
#include "quant/decode.h"

#include "kernels/cpu/target_avx2.inc"

namespace flashmoe::kernels::host {
namespace {

// [n] f16 at any address to float32.
inline void widen_f16(const std::byte* from, int64_t n, float* out) {
  int64_t i = 0;
  for (; i + 8 <= n; i += 8) {
    _mm256_storeu_ps(
        out + i, _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(from + 2 * i))));
  }
  quant::widen(quant::DType::kF16, n - i, from + 2 * i, out + i);
}

// The 16 floats at `from` to `to`, aligned to 64, past the caches; then stream_fence is due.
inline void stream16(const std::byte* from, float* to) {
  _mm256_stream_ps(to, _mm256_loadu_ps(reinterpret_cast<const float*>(from)));
  _mm256_stream_ps(to + 8, _mm256_loadu_ps(reinterpret_cast<const float*>(from) + 8));
}
inline void stream_fence() { _mm_sfence(); }

constexpr int kRegisterFloats = 8;

}  // namespace
}  // namespace flashmoe::kernels::host

#define FLASHMOE_ROW_OPS kAvx2RowOps
#define FLASHMOE_ROW_OPS_NAME "avx2"
#include "kernels/host/row_ops.inc"

#include "kernels/cpu/target_end.inc"
