#include "model/config.h"

#include <gtest/gtest.h>

#include "base/error.h"
#include "tests/format/files.h"

namespace flashmoe::model {
namespace {

using format::expect_error;
using nlohmann::json;

const std::string kGolden = std::string(FLASHMOE_SOURCE_DIR) + "/tests/golden/formats/";

// Against the configuration classes and models of transformers (tools/golden_formats.py).
TEST(ModelConfig, AgreesWithTransformers) {
  const json cases = json::parse(format::read_file(kGolden + "configs.json"));
  ASSERT_GE(cases.size(), 11u);
  for (const json& c : cases) {
    SCOPED_TRACE(c.at("name").get<std::string>());
    const json& e = c.at("expected");
    const ModelConfig config = parse_model_config(c.at("config"), "config.json");
    EXPECT_EQ(config.layers, e.at("layers"));
    EXPECT_EQ(config.hidden, e.at("hidden"));
    EXPECT_EQ(config.vocab, e.at("vocab"));
    EXPECT_EQ(config.max_context, e.at("max_context"));
    EXPECT_EQ(config.rms_eps, e.at("rms_eps").get<float>());
    EXPECT_EQ(config.tied_embeddings, e.at("tied"));
    EXPECT_EQ(config.eos_ids, e.at("eos").get<std::vector<int>>());
    ASSERT_EQ(config.layer_kinds.size(), e.at("kinds").size());
    for (size_t i = 0; i < config.layer_kinds.size(); ++i) {
      EXPECT_EQ(config.layer_kinds[i] == LayerKind::kDeltaNet, e.at("kinds")[i] == "delta") << i;
    }
    EXPECT_EQ(config.routed, e.at("routed").get<std::vector<bool>>());
    EXPECT_EQ(config.attention_layers() + config.delta_layers(), config.layers);

    EXPECT_EQ(config.attention.heads, e.at("heads"));
    EXPECT_EQ(config.attention.kv_heads, e.at("kv_heads"));
    EXPECT_EQ(config.attention.rotary_dim, e.at("rotary_dim"));
    EXPECT_EQ(config.attention.rope_theta, e.at("rope_theta"));
    if (e.contains("head_dim")) {
      EXPECT_EQ(config.attention.head_dim, e.at("head_dim"));
      EXPECT_EQ(config.attention.gated, e.at("gated"));
    }
    if (e.contains("conv_width")) {
      EXPECT_EQ(config.delta.key_heads, e.at("delta_key_heads"));
      EXPECT_EQ(config.delta.value_heads, e.at("delta_value_heads"));
      EXPECT_EQ(config.delta.key_dim, e.at("delta_key_dim"));
      EXPECT_EQ(config.delta.value_dim, e.at("delta_value_dim"));
      EXPECT_EQ(config.delta.conv_width, e.at("conv_width"));
      EXPECT_EQ(config.delta.conv_channels(), e.at("conv_channels"));
      EXPECT_TRUE(config.norm_plus_one);
    } else {
      EXPECT_EQ(config.family, Family::kQwen3Moe);
      EXPECT_EQ(config.delta.conv_channels(), 0);
      EXPECT_FALSE(config.norm_plus_one);
    }
    EXPECT_EQ(config.moe.experts, e.at("experts"));
    EXPECT_EQ(config.moe.experts_per_token, e.at("experts_per_token"));
    EXPECT_EQ(config.moe.intermediate, e.at("intermediate"));
    EXPECT_EQ(config.moe.shared_intermediate, e.at("shared_intermediate"));
    EXPECT_EQ(config.moe.normalize, e.at("normalize"));
    if (e.contains("dense_intermediate")) {
      EXPECT_EQ(config.dense_intermediate, e.at("dense_intermediate"));
    }
  }
}

TEST(ModelConfig, KnowsTheFamilies) {
  const auto family = [](const json& config) { return parse_model_config(config, "c").family; };
  EXPECT_EQ(family({{"model_type", "qwen3_moe"}}), Family::kQwen3Moe);
  EXPECT_EQ(family({{"model_type", "qwen3_next"}}), Family::kQwen3Next);
  EXPECT_EQ(family({{"model_type", "qwen3_5_moe_text"}}), Family::kQwen35Moe);
  EXPECT_EQ(family({{"model_type", "qwen3_5_moe"}}), Family::kQwen35Moe);
  EXPECT_EQ(family({{"model_type", "qwen3_5_moe"}, {"text_config", json::object()}}),
            Family::kQwen35Moe);
  for (Family f : {Family::kQwen3Moe, Family::kQwen3Next, Family::kQwen35Moe}) {
    EXPECT_EQ(family({{"model_type", family_name(f)}}), f);
  }
}

TEST(ModelConfig, RefusesUnknownArchitectures) {
  const auto refuse = [](const json& config, const std::string& what) {
    expect_error(ErrorCode::kUnsupported, {"m/config.json: ", what},
                 [&] { parse_model_config(config, "m/config.json"); });
  };
  refuse({{"model_type", "llama"}},
         "architecture \"llama\" is not supported; supported are qwen3_moe, qwen3_next and "
         "qwen3_5_moe");
  refuse(json::object(), "no model_type");
  refuse({{"model_type", "qwen3_5_moe"}, {"text_config", {{"model_type", "qwen3_5_text"}}}},
         "\"qwen3_5_text\"");
  expect_error(ErrorCode::kCorrupt, {"c: ", "not a JSON object"},
               [] { parse_model_config(json::array(), "c"); });
  expect_error(ErrorCode::kCorrupt, {"c: ", "model_type is 5"}, [] {
    parse_model_config({{"model_type", 5}}, "c");
  });
  expect_error(ErrorCode::kCorrupt, {"c: ", "text_config is 5"}, [] {
    parse_model_config({{"model_type", "qwen3_5_moe"}, {"text_config", 5}}, "c");
  });
}

struct Refusal {
  const char* model_type;
  const char* body;  // keys and values to add
  const char* message;
};

void expect_refusals(ErrorCode code, const std::vector<Refusal>& refusals) {
  for (const Refusal& r : refusals) {
    json config = json::parse(r.body);
    config["model_type"] = r.model_type;
    SCOPED_TRACE(r.body);
    expect_error(code, {"m/config.json: ", r.message},
                 [&] { parse_model_config(config, "m/config.json"); });
  }
}

TEST(ModelConfig, RefusesWhatItWouldComputeWrongly) {
  expect_refusals(
      ErrorCode::kUnsupported,
      {{"qwen3_moe", R"({"hidden_act":"gelu"})", "hidden_act is \"gelu\": only silu"},
       {"qwen3_moe", R"({"attention_bias":true})", "attention_bias is true: "},
       {"qwen3_moe", R"({"use_sliding_window":true})", "use_sliding_window is true: "},
       {"qwen3_moe", R"({"rope_scaling":{"rope_type":"yarn","factor":4.0}})", "of type yarn"},
       {"qwen3_moe", R"({"rope_scaling":{"type":"linear","factor":2.0}})", "of type linear"},
       {"qwen3_next", R"({"rope_parameters":{"rope_type":"llama3"}})", "of type llama3"},
       {"qwen3_next", R"({"rope_parameters":{"full_attention":{"rope_theta":1e4}}})",
        "differ by layer"},
       {"qwen3_next", R"({"attn_output_gate":false})", "attn_output_gate is false: "},
       {"qwen3_next", R"({"per_layer_config":{"1":{}}})", "per_layer_config is {\"1\":{}}: "},
       {"qwen3_next", R"({"num_hidden_layers":1,"layer_types":["sliding_attention"]})",
        "\"sliding_attention\" are not supported"},
       {"qwen3_moe", R"({"num_hidden_layers":1,"layer_types":["linear_attention"]})",
        "\"linear_attention\" are not supported"},
       {"qwen3_next", R"({"num_hidden_layers":1,"layer_types":[7]})", "7 are not supported"}});
}

TEST(ModelConfig, RefusesValuesOfTheWrongKindOrRange) {
  expect_refusals(
      ErrorCode::kCorrupt,
      {{"qwen3_moe", R"({"hidden_size":"2048"})", "hidden_size is \"2048\": "},
       {"qwen3_moe", R"({"hidden_size":2048.0})", "hidden_size is 2048.0: "},
       {"qwen3_moe", R"({"hidden_size":true})", "hidden_size is true: "},
       {"qwen3_moe", R"({"hidden_size":0})", "hidden_size is 0: it should be from 1 to 1048576"},
       {"qwen3_moe", R"({"hidden_size":-2048})", "hidden_size is -2048: "},
       {"qwen3_moe", R"({"hidden_size":4294967297})", "hidden_size is 4294967297: "},
       {"qwen3_moe", R"({"hidden_size":18446744073709551615})", "hidden_size is 1844674407"},
       {"qwen3_moe", R"({"hidden_size":18446744073709549568})", "hidden_size is 1844674407"},
       {"qwen3_moe", R"({"num_hidden_layers":[1]})", "num_hidden_layers is [1]: "},
       {"qwen3_moe", R"({"num_hidden_layers":2049})", "num_hidden_layers is 2049: "},
       {"qwen3_moe", R"({"vocab_size":0})", "vocab_size is 0: "},
       {"qwen3_moe", R"({"max_position_embeddings":0})", "max_position_embeddings is 0: "},
       {"qwen3_moe", R"({"rms_norm_eps":0})", "rms_norm_eps is 0: "},
       {"qwen3_moe", R"({"rms_norm_eps":-1e-6})", "rms_norm_eps is -1e-06: "},
       {"qwen3_moe", R"({"rms_norm_eps":"1e-6"})", "rms_norm_eps is \"1e-6\": "},
       {"qwen3_moe", R"({"tie_word_embeddings":1})", "tie_word_embeddings is 1: "},
       {"qwen3_moe", R"({"num_attention_heads":6})", "num_attention_heads is 6: is not a multiple"},
       {"qwen3_moe", R"({"num_attention_heads":4,"head_dim":513})", "head_dim is 513: "},
       {"qwen3_moe", R"({"hidden_size":2,"head_dim":null})", "head_dim is absent: "},
       {"qwen3_moe", R"({"head_dim":77})", "head_dim is 77: gives 77 rotary"},
       {"qwen3_moe", R"({"rope_theta":0})", "rope_theta is 0: "},
       {"qwen3_moe", R"({"rope_scaling":{"rope_theta":"x"}})", "rope_scaling.rope_theta is \"x\""},
       {"qwen3_moe", R"({"rope_parameters":[]})", "rope_parameters is []: "},
       {"qwen3_next", R"({"rope_parameters":{"partial_rotary_factor":0.001}})", "gives 0 rotary"},
       {"qwen3_next", R"({"partial_rotary_factor":1.5})", "partial_rotary_factor is 1.5: "},
       {"qwen3_moe", R"({"num_experts":0})", "num_experts is 0: "},
       {"qwen3_moe", R"({"num_local_experts":-1})", "num_local_experts is -1: "},
       {"qwen3_moe", R"({"num_experts":4})", "num_experts_per_tok is absent: is more than"},
       {"qwen3_moe", R"({"num_experts":4,"num_experts_per_tok":5})",
        "num_experts_per_tok is 5: is more than the model's 4 experts"},
       {"qwen3_moe", R"({"num_experts_per_tok":0})", "num_experts_per_tok is 0: "},
       {"qwen3_moe", R"({"moe_intermediate_size":0})", "moe_intermediate_size is 0: "},
       {"qwen3_next", R"({"shared_expert_intermediate_size":-1})", "size is -1: "},
       {"qwen3_moe", R"({"norm_topk_prob":"yes"})", "norm_topk_prob is \"yes\": "},
       {"qwen3_moe", R"({"decoder_sparse_step":0})", "decoder_sparse_step is 0: "},
       {"qwen3_moe", R"({"mlp_only_layers":[24]})", "24 is not one of the model's 24 layers"},
       {"qwen3_moe", R"({"mlp_only_layers":[-1]})", "-1 is not one of"},
       {"qwen3_moe", R"({"mlp_only_layers":[18446744073709551615]})", "is not one of"},
       {"qwen3_moe", R"({"mlp_only_layers":3})", "mlp_only_layers is 3: "},
       {"qwen3_next", R"({"linear_num_value_heads":24})",
        "linear_num_value_heads is 24: is not a multiple of linear_num_key_heads, 16"},
       {"qwen3_next", R"({"linear_key_head_dim":1024})", "linear_key_head_dim is 1024: "},
       {"qwen3_next", R"({"linear_value_head_dim":0})", "linear_value_head_dim is 0: "},
       {"qwen3_next", R"({"linear_conv_kernel_dim":65})", "linear_conv_kernel_dim is 65: "},
       {"qwen3_next", R"({"full_attention_interval":0})", "full_attention_interval is 0: "},
       {"qwen3_next", R"({"layer_types":["full_attention"]})",
        "names 1 layers, but num_hidden_layers is 48"},
       {"qwen3_next", R"({"layer_types":{}})", "layer_types is {}: "},
       {"qwen3_moe", R"({"eos_token_id":-1})", "eos_token_id is -1: "},
       {"qwen3_moe", R"({"eos_token_id":[1,"2"]})", "eos_token_id is [1,\"2\"]: "},
       {"qwen3_moe", R"({"eos_token_id":[18446744073709551615]})", "eos_token_id is [1844"}});
}

TEST(ModelConfig, NullIsAsAbsent) {
  const ModelConfig config = parse_model_config(
      json::parse(R"({"model_type":"qwen3_next","rope_scaling":null,"layer_types":null,
                      "mlp_only_layers":null,"eos_token_id":null,"head_dim":null})"),
      "c");
  EXPECT_EQ(config.layers, 48);
  EXPECT_EQ(config.attention_layers(), 12);
  EXPECT_EQ(config.routed_layers(), 48);
  EXPECT_EQ(config.attention.head_dim, 256);
}

TEST(ModelConfig, EosMayStandBesideTheTextConfig) {
  const auto eos = [](const char* text) {
    return parse_model_config(json::parse(text), "c").eos_ids;
  };
  EXPECT_EQ(eos(R"({"model_type":"qwen3_5_moe","eos_token_id":[1,2],"text_config":{}})"),
            (std::vector<int>{1, 2}));
  EXPECT_EQ(
      eos(R"({"model_type":"qwen3_5_moe","eos_token_id":1,"text_config":{"eos_token_id":3}})"),
      (std::vector<int>{3}));
}

TEST(ModelConfig, ReadsTheTrainedTinyModel) {
  const std::string path =
      std::string(FLASHMOE_SOURCE_DIR) + "/../shared/models/tiny-bf16/config.json";
  if (!std::filesystem::exists(path)) GTEST_SKIP() << path << " is not there";
  const ModelConfig config = parse_model_config(json::parse(format::read_file(path)), path);
  EXPECT_EQ(config.family, Family::kQwen35Moe);
  EXPECT_EQ(config.layers, 8);
  EXPECT_EQ(config.attention_layers(), 2);
  EXPECT_EQ(config.attention.rotary_dim, 16);
  EXPECT_EQ(config.moe.experts, 32);
  EXPECT_TRUE(config.tied_embeddings);
}

}  // namespace
}  // namespace flashmoe::model
