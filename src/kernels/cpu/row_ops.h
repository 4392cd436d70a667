// Chooses the row operations of an instruction set.
#pragma once

#include "kernels/cpu/isa.h"
#include "kernels/host/row_ops.h"

namespace flashmoe::kernels::cpu {

// `isa` must be supported.
const host::RowOps& row_ops(Isa isa);

}  // namespace flashmoe::kernels::cpu
