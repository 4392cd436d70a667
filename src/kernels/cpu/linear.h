// Products of prepared weight matrices (layout.h) with activation rows, one function table per
// instruction set; all of them give the bits that quant/arithmetic.h defines. Owns no threads:
// the caller spreads row blocks over them.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/backend.h"
#include "kernels/cpu/isa.h"

namespace flashmoe::kernels::cpu {

// y[i * y_stride + r] = x row i · weight row r, for i in [0, n) and the rows r of the blocks
// [block_begin, block_end) of 16. x: n operand rows one behind the other, aligned to 64.
using LinearFunction = void (*)(const Matrix& weight, const std::byte* x, int64_t n,
                                int64_t block_begin, int64_t block_end, float* y,
                                int64_t y_stride) noexcept;

// Whether there is a product with activations rounded to int8.
inline bool takes_int8(const quant::Format& format) {
  return format.encoding == quant::Encoding::kFloats ? format.bits == 4
                                                     : format.encoding != quant::Encoding::kPlain;
}

struct LinearKernels {
  const char* name;
  LinearFunction linear_int8;   // what takes_int8; x rows made by quant::round_row
  LinearFunction linear_float;  // every weight; x rows made by quant::load_row
};

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
