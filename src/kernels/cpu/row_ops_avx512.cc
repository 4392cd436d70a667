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

#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx512f,avx512bw,avx512vl,f16c"))), \
                             apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx512f,avx512bw,avx512vl,f16c,prefer-vector-width=512")
#endif

namespace flashmoe::kernels::host {
namespace {

// 16 f16 at any address to float32.
inline void widen16(const std::byte* from, __m512* out) {
  *out = _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(from)));
}

// The 16 floats at `from` to `to`, aligned to 64, past the caches; then stream_fence is due.
inline void stream16(const std::byte* from, float* to) {
  _mm512_stream_ps(to, _mm512_loadu_ps(from));
}
inline void stream_fence() { _mm_sfence(); }

// a * b + sum, rounded once.
inline __m512 multiply_add(__m512 a, __m512 b, __m512 sum) { return _mm512_fmadd_ps(a, b, sum); }

constexpr int kRegisterFloats = 16;

}  // namespace
}  // namespace flashmoe::kernels::host

#define FLASHMOE_ROW_OPS kAvx512RowOps
#define FLASHMOE_ROW_OPS_NAME "avx512"
#include "kernels/host/row_ops.inc"

#if defined(__clang__)
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif
