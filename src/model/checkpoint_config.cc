#include "model/checkpoint_config.h"

#include "model/gguf_config.h"

namespace flashmoe::model {

nlohmann::json config_json(const format::Checkpoint& checkpoint) {
  return has_gguf_config(checkpoint) ? gguf_config_json(checkpoint) : checkpoint.config();
}

ModelConfig read_model_config(const format::Checkpoint& checkpoint) {
  if (!has_gguf_config(checkpoint)) {
    return parse_model_config(checkpoint.config(), checkpoint.path() + "/config.json");
  }
  ModelConfig config = parse_model_config(gguf_config_json(checkpoint), checkpoint.path());
  config.delta.tiled = config.family == Family::kQwen35Moe;
  config.prediction_layers = gguf_prediction_layers(checkpoint);
  return config;
}

}  // namespace flashmoe::model
