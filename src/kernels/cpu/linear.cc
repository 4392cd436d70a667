#include "kernels/cpu/linear.h"

#include "base/check.h"

namespace flashmoe::kernels::cpu {

const LinearKernels& linear_kernels() {
  static const LinearKernels& chosen = linear_kernels(chosen_isa());
  return chosen;
}

const LinearKernels& linear_kernels(Isa isa) {
  CHECK(isa_supported(isa));
#if defined(__x86_64__)
  if (isa == Isa::kAvx512) return kAvx512Linear;
  if (isa == Isa::kAvx2) return kAvx2Linear;
#elif defined(__aarch64__)
  if (isa == Isa::kNeon) return kNeonLinear;
#endif
  return kScalarLinear;
}

}  // namespace flashmoe::kernels::cpu
