// Which instruction sets this arm64 processor has, as Linux tells.
#include <sys/auxv.h>

#include "kernels/cpu/isa.h"

namespace flashmoe::kernels::cpu {

bool isa_supported(Isa isa) {
  if (isa == Isa::kNeon) return (getauxval(AT_HWCAP) & HWCAP_ASIMDDP) != 0;
  return isa == Isa::kScalar;
}

}  // namespace flashmoe::kernels::cpu
