// config.json of a model in MLX's layout. Owns what mlx-lm expects there beyond the source's own
// file.
#pragma once

#include <nlohmann/json.hpp>
#include <vector>

#include "convert/mlx_tensors.h"
#include "model/config.h"

namespace flashmoe::convert {

// `source` is the source's config.json, `config` what it means.
nlohmann::json mlx_config(const nlohmann::json& source, const model::ModelConfig& config,
                          const std::vector<MlxTensor>& tensors, MlxFormat format);

}  // namespace flashmoe::convert
