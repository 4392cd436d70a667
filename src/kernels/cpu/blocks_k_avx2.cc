// Products of GGUF's K types with AVX2; see block_tiles.inc.
#include <immintrin.h>

#include <cstring>

#include "kernels/cpu/layout.h"
#include "kernels/cpu/linear_tiles.h"
#include "quant/arithmetic.h"

#include "kernels/cpu/target_avx2.inc"

#include "kernels/cpu/block_vectors_avx2.inc"

#include "kernels/cpu/block_tiles.inc"

#include "kernels/cpu/block_types_k.inc"

#include "kernels/cpu/block_rows_avx2.inc"

#include "kernels/cpu/block_rows_k_avx2.inc"

#include "kernels/cpu/target_end.inc"

#include "kernels/cpu/block_functions.inc"

namespace flashmoe::kernels::cpu {

TileFunctions avx2_k_blocks(quant::BlockType type) { return with_type(type, BlockFunctions{}); }

}  // namespace flashmoe::kernels::cpu
