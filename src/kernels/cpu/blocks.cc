// Which file has the products of a type of GGUF's blocks.
#include "kernels/cpu/linear_tiles.h"

namespace flashmoe::kernels::cpu {

#if defined(__x86_64__)
TileFunctions avx512_small_blocks(quant::BlockType type);
TileFunctions avx512_k_blocks(quant::BlockType type);
TileFunctions avx512_iq_blocks(quant::BlockType type);
TileFunctions avx2_small_blocks(quant::BlockType type);
TileFunctions avx2_k_blocks(quant::BlockType type);
TileFunctions avx2_iq_blocks(quant::BlockType type);

const BlockKernels kAvx512Blocks = {avx512_small_blocks, avx512_k_blocks, avx512_iq_blocks};
const BlockKernels kAvx2Blocks = {avx2_small_blocks, avx2_k_blocks, avx2_iq_blocks};
#elif defined(__aarch64__)
TileFunctions neon_small_blocks(quant::BlockType type);
TileFunctions neon_k_blocks(quant::BlockType type);
TileFunctions neon_iq_blocks(quant::BlockType type);

const BlockKernels kNeonBlocks = {neon_small_blocks, neon_k_blocks, neon_iq_blocks};
#endif

TileFunctions block_functions(const BlockKernels& kernels, quant::BlockType type) {
  using quant::BlockType;
  switch (type) {
    case BlockType::kQ4_0:
    case BlockType::kQ4_1:
    case BlockType::kQ5_0:
    case BlockType::kQ5_1:
    case BlockType::kQ8_0:
    case BlockType::kIQ4_NL:
    case BlockType::kIQ4_XS:
    case BlockType::kMXFP4:
    case BlockType::kNVFP4:
      return kernels.small(type);
    case BlockType::kQ2_K:
    case BlockType::kQ3_K:
    case BlockType::kQ4_K:
    case BlockType::kQ5_K:
    case BlockType::kQ6_K:
    case BlockType::kTQ1_0:
    case BlockType::kTQ2_0:
      return kernels.k(type);
    case BlockType::kIQ1_S:
    case BlockType::kIQ1_M:
    case BlockType::kIQ2_XXS:
    case BlockType::kIQ2_XS:
    case BlockType::kIQ2_S:
    case BlockType::kIQ3_XXS:
    case BlockType::kIQ3_S:
      break;
  }
  return kernels.iq(type);
}

}  // namespace flashmoe::kernels::cpu
