// Which instruction sets this arm64 processor has: every Mac with one has dot products.
#include "kernels/cpu/isa.h"

namespace flashmoe::kernels::cpu {

bool isa_supported(Isa isa) { return isa == Isa::kNeon || isa == Isa::kScalar; }

}  // namespace flashmoe::kernels::cpu
