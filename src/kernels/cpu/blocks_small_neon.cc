// Products of GGUF's types of small blocks with NEON and dot products; see block_tiles.inc.
#include <arm_neon.h>

#include "kernels/cpu/layout.h"
#include "kernels/cpu/linear_tiles.h"
#include "quant/arithmetic.h"
#include "quant/codebooks.h"

// What is compiled for dot products is of this file alone: a shared inline function or template
// must not come out of here into the baseline program.
#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("dotprod"))), apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("arch=armv8.2-a+dotprod")
#endif

#include "kernels/cpu/block_vectors_neon.inc"

#include "kernels/cpu/block_tiles.inc"

#include "kernels/cpu/block_types_small.inc"

#if defined(__clang__)
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif

#include "kernels/cpu/block_functions.inc"

namespace flashmoe::kernels::cpu {

TileFunctions neon_small_blocks(quant::BlockType type, bool int8) {
  return with_type(type, BlockFunctions{int8});
}

}  // namespace flashmoe::kernels::cpu
