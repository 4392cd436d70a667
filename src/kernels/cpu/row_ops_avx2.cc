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

// 16 f16 at any address to float32.
inline void widen16(const std::byte* from, __m256* out) {
  out[0] = _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(from)));
  out[1] = _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(from + 16)));
}

// The 16 floats at `from` to `to`, aligned to 64, past the caches; then stream_fence is due.
inline void stream16(const std::byte* from, float* to) {
  _mm256_stream_ps(to, _mm256_loadu_ps(reinterpret_cast<const float*>(from)));
  _mm256_stream_ps(to + 8, _mm256_loadu_ps(reinterpret_cast<const float*>(from) + 8));
}
inline void stream_fence() { _mm_sfence(); }

// a * b + sum, rounded once.
inline __m256 multiply_add(__m256 a, __m256 b, __m256 sum) { return _mm256_fmadd_ps(a, b, sum); }

constexpr int kRegisterFloats = 8;

}  // namespace
}  // namespace flashmoe::kernels::host

#define FLASHMOE_ROW_OPS kAvx2RowOps
#define FLASHMOE_ROW_OPS_NAME "avx2"
#include "kernels/host/row_ops.inc"

#include "kernels/cpu/target_end.inc"
