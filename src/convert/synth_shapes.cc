#include "convert/synth_shapes.h"

#include <algorithm>
#include <cstddef>

namespace flashmoe::convert {

namespace {

using nlohmann::json;

struct Shape {
  const char* name;
  int layers, hidden;
  int heads, kv_heads;
  int key_heads, value_heads;  // of the delta net
  int experts, experts_per_token, intermediate;
};

constexpr Shape kQwen35[] = {
    {"qwen3.5-35b-a3b", 40, 2048, 16, 2, 16, 32, 256, 8, 512},
    {"qwen3.5-122b-a10b", 48, 3072, 32, 2, 16, 64, 256, 8, 1024},
    {"qwen3.5-397b-a17b", 60, 4096, 32, 2, 16, 64, 512, 10, 1024},
};
constexpr Shape kQwen3Next = {"qwen3-next-80b-a3b", 48, 2048, 16, 2, 16, 32, 512, 10, 512};

// What the text models of both families have alike. The shared expert is as wide as a routed one.
json text_config(const Shape& shape) {
  return {{"attention_bias", false},
          {"attention_dropout", 0.0},
          {"dtype", "bfloat16"},
          {"full_attention_interval", 4},
          {"head_dim", 256},
          {"hidden_act", "silu"},
          {"hidden_size", shape.hidden},
          {"initializer_range", 0.02},
          {"linear_conv_kernel_dim", 4},
          {"linear_key_head_dim", 128},
          {"linear_num_key_heads", shape.key_heads},
          {"linear_num_value_heads", shape.value_heads},
          {"linear_value_head_dim", 128},
          {"max_position_embeddings", 262144},
          {"mlp_only_layers", json::array()},
          {"moe_intermediate_size", shape.intermediate},
          {"num_attention_heads", shape.heads},
          {"num_experts", shape.experts},
          {"num_experts_per_tok", shape.experts_per_token},
          {"num_hidden_layers", shape.layers},
          {"num_key_value_heads", shape.kv_heads},
          {"rms_norm_eps", 1e-6},
          {"router_aux_loss_coef", 0.001},
          {"shared_expert_intermediate_size", shape.intermediate},
          {"tie_word_embeddings", false},
          {"use_cache", true}};
}

json qwen35_config(const Shape& shape) {
  json text = text_config(shape);
  json layer_types = json::array();
  for (int i = 1; i <= shape.layers; ++i) {
    layer_types.push_back(i % 4 == 0 ? "full_attention" : "linear_attention");
  }
  text.update({{"attn_output_gate", true},
               {"eos_token_id", 248044},
               {"layer_types", layer_types},
               {"mamba_ssm_dtype", "float32"},
               {"model_type", "qwen3_5_moe_text"},
               {"rope_parameters",
                {{"mrope_interleaved", true},
                 {"mrope_section", {11, 11, 10}},
                 {"partial_rotary_factor", 0.25},
                 {"rope_theta", 10000000},
                 {"rope_type", "default"}}},
               {"vocab_size", 248320}});
  return {{"architectures", {"Qwen3_5MoeForConditionalGeneration"}},
          {"image_token_id", 248056},
          {"model_type", "qwen3_5_moe"},
          {"text_config", text},
          {"tie_word_embeddings", false},
          {"video_token_id", 248057},
          {"vision_end_token_id", 248054},
          {"vision_start_token_id", 248053}};
}

json qwen3_next_config(const Shape& shape) {
  json config = text_config(shape);
  config.update({{"architectures", {"Qwen3NextForCausalLM"}},
                 {"bos_token_id", 151643},
                 {"decoder_sparse_step", 1},
                 {"eos_token_id", 151645},
                 {"intermediate_size", 5120},
                 {"model_type", "qwen3_next"},
                 {"norm_topk_prob", true},
                 {"partial_rotary_factor", 0.25},
                 {"rope_scaling", nullptr},
                 {"rope_theta", 10000000},
                 {"vocab_size", 151936}});
  return config;
}

}  // namespace

std::vector<std::string> published_names() {
  std::vector<std::string> names = {kQwen3Next.name};
  for (const Shape& shape : kQwen35) names.push_back(shape.name);
  return names;
}

std::optional<json> published_config(std::string_view name) {
  if (name == kQwen3Next.name) return qwen3_next_config(kQwen3Next);
  for (const Shape& shape : kQwen35) {
    if (name == shape.name) return qwen35_config(shape);
  }
  return std::nullopt;
}

bool has_text_config(const json& config) {
  const auto text = config.find("text_config");
  return text != config.end() && text->is_object();
}

json first_layers(json config, int layers) {
  json& text = has_text_config(config) ? config["text_config"] : config;
  text["num_hidden_layers"] = layers;
  if (const auto types = text.find("layer_types"); types != text.end() && types->is_array()) {
    types->erase(types->begin() + std::min<ptrdiff_t>(layers, std::ssize(*types)), types->end());
  }
  if (const auto dense = text.find("mlp_only_layers"); dense != text.end() && dense->is_array()) {
    dense->erase(std::remove_if(dense->begin(), dense->end(),
                                [&](const json& layer) { return layer >= layers; }),
                 dense->end());
  }
  return config;
}

}  // namespace flashmoe::convert
