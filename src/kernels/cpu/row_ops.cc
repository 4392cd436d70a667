#include "kernels/cpu/row_ops.h"

#include "base/check.h"

namespace flashmoe::kernels::cpu {

const host::RowOps& row_ops(Isa isa) {
  CHECK(isa_supported(isa));
#if defined(__x86_64__)
  if (isa == Isa::kAvx512) return host::kAvx512RowOps;
  if (isa == Isa::kAvx2) return host::kAvx2RowOps;
#elif defined(__aarch64__)
  if (isa == Isa::kNeon) return host::kNeonRowOps;
#endif
  return host::kScalarRowOps;
}

}  // namespace flashmoe::kernels::cpu
