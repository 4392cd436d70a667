// Products of GGUF's IQ types with NEON and dot products; see block_tiles.inc.
#include <arm_neon.h>

#include "kernels/cpu/layout.h"
#include "kernels/cpu/linear_tiles.h"
#include "quant/arithmetic.h"
#include "quant/codebooks.h"

#include "kernels/cpu/target_neon.inc"

#include "kernels/cpu/block_vectors_neon.inc"

#include "kernels/cpu/block_tiles.inc"

#include "kernels/cpu/block_types_iq.inc"

#include "kernels/cpu/target_end.inc"

#include "kernels/cpu/block_functions.inc"

namespace flashmoe::kernels::cpu {

TileFunctions neon_iq_blocks(quant::BlockType type) { return with_type(type, BlockFunctions{}); }

}  // namespace flashmoe::kernels::cpu
