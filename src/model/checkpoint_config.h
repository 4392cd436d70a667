// What a checkpoint says of its model, whatever its format: one place to ask.
#pragma once

#include <nlohmann/json.hpp>

#include "format/checkpoint.h"
#include "model/config.h"

namespace flashmoe::model {

// Its config.json; of GGUF, what that would be.
nlohmann::json config_json(const format::Checkpoint& checkpoint);

// What it means, with how its tensors are laid out. Throws Error as parse_model_config does.
ModelConfig read_model_config(const format::Checkpoint& checkpoint);

}  // namespace flashmoe::model
