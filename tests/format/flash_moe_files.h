// Writes a model as the flash-moe program keeps it, from an MLX checkpoint; its layouts are written
// down here apart from src/format. For tests.
#pragma once

#include <string>

namespace flashmoe::format {

enum class FlashMoeExperts {
  kLayers,      // packed_experts/layer_00.bin
  kFiles,       // packed_experts/layer_00/expert_000.bin
  kLz4Blocks,   // packed_experts_lz4/layer_00.bin, some experts stored as they are
  kLz4Frames,   // the same in Apple's frame, several blocks each
  kTwoBitsToo,  // packed_experts and packed_experts_2bit
};

// The experts of `mlx_folder` are quantised to 4 bits in groups of 64. Of its other files, all but
// the weights are copied.
void write_flash_moe(const std::string& mlx_folder, const std::string& folder,
                     FlashMoeExperts experts);
// The same MLX checkpoint with the experts of packed_experts_2bit.
void write_two_bit_mlx(const std::string& mlx_folder, const std::string& folder);

}  // namespace flashmoe::format
