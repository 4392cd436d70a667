// Processors without kernels of their own.
#include "kernels/cpu/isa.h"

namespace flashmoe::kernels::cpu {

bool isa_supported(Isa isa) { return isa == Isa::kScalar; }

}  // namespace flashmoe::kernels::cpu
