// Chooses the loops of quantising (quant/group_loops.h) of an instruction set.
#pragma once

#include "kernels/cpu/isa.h"
#include "quant/group_loops.h"

namespace flashmoe::kernels::cpu {

// `isa` must be supported. AVX-512 has those of AVX2, whose vectors are as long as the loops' sums
// have chains; those of NEON are the program's own.
const quant::GroupLoops& group_loops(Isa isa);

}  // namespace flashmoe::kernels::cpu
