#include "model/tensor_names.h"

#include <fmt/format.h>

namespace flashmoe::model {

namespace {

// In plain, multimodal (Hugging Face) and multimodal (MLX) checkpoints.
constexpr std::string_view kPrefixes[] = {"model.", "model.language_model.",
                                          "language_model.model."};
constexpr std::string_view kHeads[] = {"lm_head", "language_model.lm_head"};
constexpr std::string_view kGgufPrefixes[] = {""};
constexpr std::string_view kGgufHeads[] = {"output"};

}  // namespace

const TensorNames kTransformersNames = {
    .config = "config.json",
    .prefixes = kPrefixes,
    .heads = kHeads,
    .embedding = "embed_tokens",
    .final_norm = "norm.weight",
    .layer = "layers.{}.",
    .mixer_norm = "input_layernorm.weight",
    .moe_norm = "post_attention_layernorm.weight",
    .attention = {.q = "self_attn.q_proj",
                  .k = "self_attn.k_proj",
                  .v = "self_attn.v_proj",
                  .out = "self_attn.o_proj",
                  .q_norm = "self_attn.q_norm.weight",
                  .k_norm = "self_attn.k_norm.weight",
                  .qkv = ""},
    .delta = {.qkv = "linear_attn.in_proj_qkv",
              .z = "linear_attn.in_proj_z",
              .qkvz = "linear_attn.in_proj_qkvz",
              .b = "linear_attn.in_proj_b",
              .a = "linear_attn.in_proj_a",
              .ba = "linear_attn.in_proj_ba",
              .conv = "linear_attn.conv1d.weight",
              .decay = "linear_attn.A_log",
              .dt_bias = "linear_attn.dt_bias",
              .norm = "linear_attn.norm.weight",
              .out = "linear_attn.out_proj"},
    .router = "mlp.gate",
    .shared_gate = "mlp.shared_expert_gate",
    .dense = {"mlp.gate_proj", "mlp.up_proj", "mlp.down_proj"},
    .shared = {"mlp.shared_expert.gate_proj", "mlp.shared_expert.up_proj",
               "mlp.shared_expert.down_proj"},
    .stacks = {"mlp.switch_mlp.gate_proj", "mlp.switch_mlp.up_proj", "mlp.switch_mlp.down_proj"},
    .singles = {"mlp.experts.{}.gate_proj", "mlp.experts.{}.up_proj", "mlp.experts.{}.down_proj"},
    .fused_gate_up = "mlp.experts.gate_up_proj",
    .fused_down = "mlp.experts.down_proj",
    .norms_hold_one = false,
    .decay_is_log = true,
};

TensorNames gguf_names(Family family) {
  const bool is_qwen3_moe = family == Family::kQwen3Moe;
  return {
      .config = "the metadata",
      .prefixes = kGgufPrefixes,
      .heads = kGgufHeads,
      .embedding = "token_embd",
      .final_norm = "output_norm.weight",
      .layer = "blk.{}.",
      .mixer_norm = "attn_norm.weight",
      .moe_norm = is_qwen3_moe ? "ffn_norm.weight" : "post_attention_norm.weight",
      .attention = {.q = "attn_q",
                    .k = "attn_k",
                    .v = "attn_v",
                    .out = "attn_output",
                    .q_norm = "attn_q_norm.weight",
                    .k_norm = "attn_k_norm.weight",
                    .qkv = "attn_qkv"},
      .delta = {.qkv = "attn_qkv",
                .z = "attn_gate",
                .qkvz = "ssm_in",
                .b = "ssm_beta",
                .a = "ssm_alpha",
                .ba = "ssm_ba",
                .conv = "ssm_conv1d.weight",
                .decay = "ssm_a",
                .dt_bias = "ssm_dt.bias",
                .norm = "ssm_norm.weight",
                .out = "ssm_out"},
      .router = "ffn_gate_inp",
      .shared_gate = "ffn_gate_inp_shexp",
      .dense = {"ffn_gate", "ffn_up", "ffn_down"},
      .shared = {"ffn_gate_shexp", "ffn_up_shexp", "ffn_down_shexp"},
      .stacks = {"ffn_gate_exps", "ffn_up_exps", "ffn_down_exps"},
      .singles = {},
      .fused_gate_up = "ffn_gate_up_exps",
      .fused_down = "ffn_down_exps",
      .norms_hold_one = true,
      .decay_is_log = false,
  };
}

std::string numbered(std::string_view name, int64_t number) {
  return fmt::format(fmt::runtime(name), number);
}

}  // namespace flashmoe::model
