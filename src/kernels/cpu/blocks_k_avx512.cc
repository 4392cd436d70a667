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

#include "kernels/cpu/target_avx512.inc"

#include "kernels/cpu/block_vectors_avx512.inc"

#include "kernels/cpu/block_tiles.inc"

#include "kernels/cpu/block_types_k.inc"

#include "kernels/cpu/block_rows_k_avx512.inc"

#include "kernels/cpu/target_end.inc"

#include "kernels/cpu/block_functions.inc"

namespace flashmoe::kernels::cpu {

TileFunctions avx512_k_blocks(quant::BlockType type) { return with_type(type, BlockFunctions{}); }

}  // namespace flashmoe::kernels::cpu
