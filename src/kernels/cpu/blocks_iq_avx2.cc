// Products of GGUF's IQ types with AVX2; see block_tiles.inc.
#include <immintrin.h>

#include <cstring>

#include "kernels/cpu/layout.h"
#include "kernels/cpu/linear_tiles.h"
#include "quant/arithmetic.h"
#include "quant/codebooks.h"

// What is compiled for AVX2 is of this file alone: a shared inline function or template must not
// come out of here into the baseline program.
#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx2,fma,f16c"))), apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx2,fma,f16c")
#endif

#include "kernels/cpu/block_vectors_avx2.inc"

#include "kernels/cpu/block_tiles.inc"

#include "kernels/cpu/block_types_iq.inc"

#if defined(__clang__)
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif

#include "kernels/cpu/block_functions.inc"

namespace flashmoe::kernels::cpu {

TileFunctions avx2_iq_blocks(quant::BlockType type, bool int8) {
  return with_type(type, BlockFunctions{int8});
}

}  // namespace flashmoe::kernels::cpu
