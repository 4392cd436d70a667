// Products of GGUF's K types with AVX-512 and VNNI; see block_tiles.inc.
#if !defined(__clang__)  // false alarms out of gcc 12's own avx512fintrin.h
#pragma GCC diagnostic ignored "-Wuninitialized"
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#endif

#include <immintrin.h>

#include <cstring>

#include "kernels/cpu/layout.h"
#include "kernels/cpu/linear_tiles.h"
#include "quant/arithmetic.h"

// What is compiled for AVX-512 is of this file alone: a shared inline function or template must not
// come out of here into the baseline program.
#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx512f,avx512bw,avx512vl,avx512vnni"))), \
                             apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx512f,avx512bw,avx512vl,avx512vnni,prefer-vector-width=512")
#endif

#include "kernels/cpu/block_vectors_avx512.inc"

#include "kernels/cpu/block_tiles.inc"

#include "kernels/cpu/block_types_k.inc"

#include "kernels/cpu/block_rows_k_avx512.inc"

#if defined(__clang__)
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif

#include "kernels/cpu/block_functions.inc"

namespace flashmoe::kernels::cpu {

TileFunctions avx512_k_blocks(quant::BlockType type, bool int8) {
  return with_type(type, BlockFunctions{int8});
}

}  // namespace flashmoe::kernels::cpu
