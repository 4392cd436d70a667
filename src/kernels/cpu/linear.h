// Products of prepared weight matrices (layout.h) with activation rows, one function table per
// instruction set; all of them give the bits that quant/arithmetic.h defines. Owns no threads:
// the caller spreads row blocks over them.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/backend.h"
#include "kernels/cpu/isa.h"
#include "quant/arithmetic.h"

namespace flashmoe::kernels::cpu {

// y[i * y_stride + r] = x row i · weight row r, for i in [0, n) and the rows r of the blocks
// [block_begin, block_end) of 16. x: n rows of operand_row_bytes one behind the other, aligned to
// 64.
using LinearFunction = void (*)(const Matrix& weight, const std::byte* x, int64_t n,
                                int64_t block_begin, int64_t block_end, float* y,
                                int64_t y_stride) noexcept;

// Whether products with this format take int8 rows (quant::round_row), and not floats.
inline bool takes_int8(const quant::Format& format) {
  return format.encoding == quant::Encoding::kFloats ? format.bits == 4
                                                     : format.encoding != quant::Encoding::kPlain;
}

inline size_t float_row_bytes(int64_t cols) {
  return (static_cast<size_t>(cols) * sizeof(float) + 63) / 64 * 64;
}
inline size_t operand_row_bytes(const quant::Format& format, int64_t cols) {
  return takes_int8(format) ? quant::int8_row_bytes(cols) : float_row_bytes(cols);
}

struct LinearKernels {
  const char* name;
  LinearFunction linear;
};

// The same for split rows (quant::split_row), of what takes int8 rows.
void linear_split(const LinearKernels& kernels, const Matrix& weight, const std::byte* x, int64_t n,
                  int64_t block_begin, int64_t block_end, float* y, int64_t y_stride) noexcept;

// The table of chosen_isa(), chosen at the first call.
const LinearKernels& linear_kernels();

// The table of one instruction set, which must be supported.
const LinearKernels& linear_kernels(Isa isa);

extern const LinearKernels kScalarLinear;
#if defined(__x86_64__)
extern const LinearKernels kAvx2Linear;
extern const LinearKernels kAvx512Linear;
#elif defined(__aarch64__)
extern const LinearKernels kNeonLinear;
#endif

}  // namespace flashmoe::kernels::cpu
