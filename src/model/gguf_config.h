// A model's sizes and switches from GGUF metadata, said as a config.json says them. Owns the keys'
// names and what GGUF leaves unsaid; bounds are config.h's.
#pragma once

#include <nlohmann/json.hpp>

#include "format/checkpoint.h"

namespace flashmoe::model {

// Whether the checkpoint's config() is GGUF metadata.
bool has_gguf_config(const format::Checkpoint& checkpoint);

// The config.json of the same model as transformers has it, for the architectures qwen3moe,
// qwen3next and qwen35moe. Throws Error kUnsupported for other architectures and for what this
// program would compute wrongly, kCorrupt for values that are missing or make no sense, with key
// and value.
nlohmann::json gguf_config_json(const format::Checkpoint& checkpoint);

// Layers at the end of the count that only predict further tokens; the program skips them.
int gguf_prediction_layers(const format::Checkpoint& checkpoint);

}  // namespace flashmoe::model
