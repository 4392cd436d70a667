#include "kernels/cpu/group_loops.h"

#include "base/check.h"

namespace flashmoe {

#if defined(__x86_64__)
namespace quant {
extern const GroupLoops kAvx2GroupLoops;  // group_loops_avx2.cc
}
#endif

namespace kernels::cpu {

const quant::GroupLoops& group_loops(Isa isa) {
  CHECK(isa_supported(isa));
#if defined(__x86_64__)
  if (isa != Isa::kScalar) return quant::kAvx2GroupLoops;
#endif
  return quant::kPlainGroupLoops;
}

}  // namespace kernels::cpu
}  // namespace flashmoe
