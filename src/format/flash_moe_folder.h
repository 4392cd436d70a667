// A model as the flash-moe program keeps it: model_weights.bin and model_weights.json for the dense
// part, and the experts in packed_experts (4 bits), packed_experts_2bit or packed_experts_lz4 (4
// bits compressed). Owns the choice between these and the checks of their sizes.
#pragma once

#include <memory>
#include <string>

#include "format/checkpoint.h"

namespace flashmoe::format {

// Whether `path` is such a folder, or one of the folders of experts in it.
bool is_flash_moe(const std::string& path);

// The folder that configuration and tokenizer are in: that around a folder of experts.
std::string flash_moe_folder(const std::string& path);

// config.json if there is one, else what model_weights.json says, as the only family that flash-moe
// runs.
nlohmann::json flash_moe_config(const std::string& folder);

// `path` may name one of the folders of experts, to choose it; else the first that is there counts,
// in the order above with the compressed ones second.
std::unique_ptr<Checkpoint> open_flash_moe(const std::string& path);

}  // namespace flashmoe::format
