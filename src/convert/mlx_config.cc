#include "convert/mlx_config.h"

#include <utility>

namespace flashmoe::convert {

namespace {

using nlohmann::json;

// mlx-lm knows no model_type for qwen3_5_moe's text model alone, only the multimodal one with the
// text model's settings inside; transformers reads that too.
json wrap(json text) {
  json config = {{"model_type", "qwen3_5_moe"}};
  for (const char* key : {"architectures", "transformers_version"}) {
    if (!text.contains(key)) continue;
    config[key] = text[key];
    text.erase(key);
  }
  for (const char* key : {"bos_token_id", "eos_token_id", "pad_token_id", "dtype", "torch_dtype"}) {
    if (text.contains(key)) config[key] = text[key];
  }
  config["text_config"] = std::move(text);
  return config;
}

json quantization_of(const std::vector<MlxTensor>& tensors, MlxFormat format) {
  json result = {{"group_size", format.group}, {"bits", format.bits}, {"mode", "affine"}};
  for (const MlxTensor& tensor : tensors) {
    const quant::Format& own = tensor.format;
    if (own.encoding == quant::Encoding::kPlain) continue;
    if (own.bits == format.bits && own.group == format.group) continue;
    result[tensor.path()] = {{"group_size", own.group}, {"bits", own.bits}};
  }
  return result;
}

}  // namespace

json mlx_config(const json& source, const model::ModelConfig& config,
                const std::vector<MlxTensor>& tensors, MlxFormat format) {
  json result = source;
  if (config.family == model::Family::kQwen35Moe) {
    if (!result.contains("text_config")) result = wrap(std::move(result));
    // transformers heeds the outer one, mlx-lm the inner one.
    result["tie_word_embeddings"] = config.tied_embeddings;
    result["text_config"]["tie_word_embeddings"] = config.tied_embeddings;
  }
  // The vision tower is not in the result.
  result.erase("vision_config");
  // Nor is what another tool quantised.
  for (const char* key : {"compression_config", "quantization", "quantization_config"}) {
    result.erase(key);
    if (result.contains("text_config")) result["text_config"].erase(key);
  }
  result["quantization"] = quantization_of(tensors, format);
  result["quantization_config"] = result["quantization"];
  return result;
}

}  // namespace flashmoe::convert
