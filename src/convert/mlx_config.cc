#include "convert/mlx_config.h"

#include <algorithm>
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

// What mlx-lm has no defaults for, where transformers has: nothing that is there is changed.
void complete(const model::ModelConfig& config, json* text) {
  const auto add = [&](const char* key, json value) {
    if (!text->contains(key)) (*text)[key] = std::move(value);
  };
  const bool all_routed = config.dense_intermediate == 0;
  add("intermediate_size", all_routed ? config.moe.intermediate : config.dense_intermediate);
  add("decoder_sparse_step", 1);
  add("mlp_only_layers", json::array());
  add("head_dim", config.attention.head_dim);
  add("tie_word_embeddings", config.tied_embeddings);
  if (config.family != model::Family::kQwen35Moe) {
    add("norm_topk_prob", config.moe.normalize);
    add("rope_theta", config.attention.rope_theta);
    add("partial_rotary_factor",
        static_cast<double>(config.attention.rotary_dim) / config.attention.head_dim);
  }
  if (config.delta_layers() == 0) return;
  // It knows regular intervals only.
  const auto first =
      std::find(config.layer_kinds.begin(), config.layer_kinds.end(), model::LayerKind::kAttention);
  add("full_attention_interval", first - config.layer_kinds.begin() + 1);
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
  complete(config, result.contains("text_config") ? &result["text_config"] : &result);
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
