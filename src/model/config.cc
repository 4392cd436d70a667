#include "model/config.h"

#include <algorithm>
#include <cstdint>
#include <utility>

#include "base/error.h"
#include "model/config_values.h"

namespace flashmoe::model {

namespace {

using nlohmann::json;

constexpr int kMaxLayers = 2048;
constexpr int kMaxWidth = 1 << 20;
constexpr int kMaxVocab = 1 << 24;
constexpr int kMaxContext = 1 << 27;
constexpr int kMaxHeads = 4096;
constexpr int kMaxHeadDim = 512;
constexpr int kMaxConvWidth = 64;
constexpr int kMaxExperts = 65536;

// What transformers' configuration classes say where config.json says nothing.
struct Defaults {
  Family family;
  int vocab, dense_intermediate, layers, heads, kv_heads, head_dim;
  int moe_intermediate, shared_intermediate, experts_per_token, experts;
  bool normalize;
};

constexpr Defaults kQwen3MoeDefaults = {Family::kQwen3Moe,
                                        151936,
                                        6144,
                                        24,
                                        32,
                                        4,
                                        /*head_dim: hidden / heads*/ 0,
                                        768,
                                        0,
                                        8,
                                        128,
                                        false};
constexpr Defaults kQwen3NextDefaults = {
    Family::kQwen3Next, 151936, 5632, 48, 16, 2, 256, 512, 512, 10, 512, true};
constexpr Defaults kQwen35MoeDefaults = {
    Family::kQwen35Moe, 248320, 0, 40, 16, 2, 256, 512, 512, 8, 256, true};

const Defaults* find_defaults(const std::string& model_type) {
  if (model_type == "qwen3_moe") return &kQwen3MoeDefaults;
  if (model_type == "qwen3_next") return &kQwen3NextDefaults;
  if (model_type == "qwen3_5_moe" || model_type == "qwen3_5_moe_text") return &kQwen35MoeDefaults;
  return nullptr;
}

class ConfigParser {
 public:
  ConfigParser(const json& text, const json& whole, const std::string& source,
               const Defaults& defaults, const std::string& model_type)
      : text_(text, source, ""), whole_(whole, source, ""), defaults_(defaults) {
    config_.family = defaults.family;
    config_.model_type = model_type;
  }

  ModelConfig parse() {
    refuse_unsupported();
    config_.layers = text_.size("num_hidden_layers", defaults_.layers, kMaxLayers);
    config_.hidden = text_.size("hidden_size", 2048, kMaxWidth);
    config_.vocab = text_.size("vocab_size", defaults_.vocab, kMaxVocab);
    config_.max_context = text_.size("max_position_embeddings", 32768, kMaxContext);
    config_.rms_eps = static_cast<float>(text_.number("rms_norm_eps", 1e-6, 1e-30, 0.1));
    // A multimodal file's own flag is the one that transformers heeds.
    const Values& tie = whole_.has("tie_word_embeddings") ? whole_ : text_;
    config_.tied_embeddings = tie.flag("tie_word_embeddings", false);
    config_.norm_plus_one = has_delta_net();
    parse_layer_kinds();
    parse_attention();
    if (has_delta_net()) parse_delta_net();
    parse_moe();
    parse_routed();
    const Values& eos = text_.has("eos_token_id") ? text_ : whole_;
    config_.eos_ids = eos.token_ids("eos_token_id");
    return std::move(config_);
  }

 private:
  bool has_delta_net() const { return defaults_.family != Family::kQwen3Moe; }
  // 3.5 has experts in every layer; the others may have dense layers.
  bool may_be_dense() const { return defaults_.family != Family::kQwen35Moe; }

  void refuse_unsupported() const {
    if (text_.text("hidden_act", "silu") != "silu") {
      text_.refuse("hidden_act", "only silu is supported");
    }
    if (text_.flag("attention_bias", false)) {
      text_.refuse("attention_bias", "attention with biases is not supported");
    }
    if (text_.flag("use_sliding_window", false)) {
      text_.refuse("use_sliding_window", "sliding windows are not supported");
    }
    if (has_delta_net() && !text_.flag("attn_output_gate", true)) {
      text_.refuse("attn_output_gate", "this family is supported with output gates only");
    }
    if (text_.has("per_layer_config")) {
      text_.refuse("per_layer_config", "layers of different sizes are not supported");
    }
  }

  void parse_layer_kinds() {
    const json* types = text_.list("layer_types");
    if (types == nullptr) {
      const int interval =
          has_delta_net() ? text_.size("full_attention_interval", 4, kMaxLayers) : 1;
      for (int i = 1; i <= config_.layers; ++i) {
        config_.layer_kinds.push_back(i % interval == 0 ? LayerKind::kAttention
                                                        : LayerKind::kDeltaNet);
      }
      return;
    }
    if (types->size() != static_cast<size_t>(config_.layers)) {
      text_.fail("layer_types", fmt::format("names {} layers, but num_hidden_layers is {}",
                                            types->size(), config_.layers));
    }
    for (const json& type : *types) {
      if (type == "full_attention") {
        config_.layer_kinds.push_back(LayerKind::kAttention);
      } else if (type == "linear_attention" && has_delta_net()) {
        config_.layer_kinds.push_back(LayerKind::kDeltaNet);
      } else {
        text_.refuse("layer_types", fmt::format("layers of type {} are not supported in {}",
                                                format::brief(type), config_.model_type));
      }
    }
  }

  void parse_attention() {
    ModelConfig::Attention& attention = config_.attention;
    attention.heads = text_.size("num_attention_heads", defaults_.heads, kMaxHeads);
    attention.kv_heads = text_.size("num_key_value_heads", defaults_.kv_heads, kMaxHeads);
    if (attention.heads % attention.kv_heads != 0) {
      text_.fail("num_attention_heads",
                 fmt::format("is not a multiple of num_key_value_heads, {}", attention.kv_heads));
    }
    const int head_dim =
        defaults_.head_dim != 0 ? defaults_.head_dim : config_.hidden / attention.heads;
    attention.head_dim = text_.size("head_dim", head_dim, kMaxHeadDim);
    attention.gated = has_delta_net();
    parse_rope();
  }

  void parse_rope() {
    // Newer files have rope_parameters with everything in it, older ones rope_scaling and, beside
    // it, rope_theta and partial_rotary_factor.
    const char* key = text_.object("rope_scaling").empty() ? "rope_parameters" : "rope_scaling";
    const Values rope = text_.object(key);
    const std::string type = rope.text(rope.has("rope_type") ? "rope_type" : "type", "default");
    if (type != "default") {
      text_.refuse(key, fmt::format("rotary embeddings of type {} are not supported", type));
    }
    for (const char* nested : {"full_attention", "linear_attention"}) {
      if (rope.has(nested)) {
        text_.refuse(key, "rotary embeddings that differ by layer are not supported");
      }
    }
    const Values& theta = rope.has("rope_theta") ? rope : text_;
    config_.attention.rope_theta = theta.number("rope_theta", 10000, 1, 1e15);
    int rotary_dim = config_.attention.head_dim;
    if (has_delta_net()) {  // transformers rotates whole heads in qwen3_moe, whatever the file says
      const Values& factor = rope.has("partial_rotary_factor") ? rope : text_;
      rotary_dim = static_cast<int>(config_.attention.head_dim *
                                    factor.number("partial_rotary_factor", 0.25, 0, 1));
    }
    if (rotary_dim < 2 || rotary_dim % 2 != 0) {
      text_.fail("head_dim", fmt::format("gives {} rotary dimensions, which should be even and "
                                         "at least 2",
                                         rotary_dim));
    }
    config_.attention.rotary_dim = rotary_dim;
  }

  void parse_delta_net() {
    ModelConfig::DeltaNet& delta = config_.delta;
    delta.key_heads = text_.size("linear_num_key_heads", 16, kMaxHeads);
    delta.value_heads = text_.size("linear_num_value_heads", 32, kMaxHeads);
    delta.key_dim = text_.size("linear_key_head_dim", 128, kMaxHeadDim);
    delta.value_dim = text_.size("linear_value_head_dim", 128, kMaxHeadDim);
    delta.conv_width = text_.size("linear_conv_kernel_dim", 4, kMaxConvWidth);
    if (delta.value_heads % delta.key_heads != 0) {
      text_.fail("linear_num_value_heads",
                 fmt::format("is not a multiple of linear_num_key_heads, {}", delta.key_heads));
    }
  }

  void parse_moe() {
    ModelConfig::Moe& moe = config_.moe;
    // transformers 5 writes qwen3_moe's num_experts as num_local_experts, and heeds that first.
    const bool local = config_.family == Family::kQwen3Moe && text_.has("num_local_experts");
    moe.experts =
        text_.size(local ? "num_local_experts" : "num_experts", defaults_.experts, kMaxExperts);
    moe.experts_per_token =
        text_.size("num_experts_per_tok", defaults_.experts_per_token, kMaxExperts);
    if (moe.experts_per_token > moe.experts) {
      text_.fail("num_experts_per_tok",
                 fmt::format("is more than the model's {} experts", moe.experts));
    }
    moe.intermediate = text_.size("moe_intermediate_size", defaults_.moe_intermediate, kMaxWidth);
    if (has_delta_net()) {
      moe.shared_intermediate = text_.size("shared_expert_intermediate_size",
                                           defaults_.shared_intermediate, kMaxWidth, 0);
    }
    // 3.5 always normalises, whatever the file says.
    moe.normalize =
        config_.family == Family::kQwen35Moe || text_.flag("norm_topk_prob", defaults_.normalize);
  }

  void parse_routed() {
    config_.routed.assign(static_cast<size_t>(config_.layers), true);
    if (!may_be_dense()) return;
    config_.dense_intermediate =
        text_.size("intermediate_size", defaults_.dense_intermediate, kMaxWidth);
    const int step = text_.size("decoder_sparse_step", 1, kMaxLayers);
    for (int i = 0; i < config_.layers; ++i) {
      config_.routed[static_cast<size_t>(i)] = (i + 1) % step == 0;
    }
    if (const json* dense = text_.list("mlp_only_layers")) {
      for (const json& layer : *dense) {
        if (!layer.is_number_unsigned() ||
            layer.get<uint64_t>() >= static_cast<uint64_t>(config_.layers)) {
          text_.fail("mlp_only_layers", fmt::format("{} is not one of the model's {} layers",
                                                    format::brief(layer), config_.layers));
        }
        config_.routed[layer.get<size_t>()] = false;
      }
    }
  }

  Values text_;   // the text model's part
  Values whole_;  // the file, which is the same unless the model is multimodal
  const Defaults& defaults_;
  ModelConfig config_;
};

std::string model_type_of(const json& config, const std::string& source) {
  const Values values(config, source, "");
  if (!values.has("model_type")) {
    throw_error(ErrorCode::kUnsupported, "{}: has no model_type, so its architecture is unknown",
                source);
  }
  return values.text("model_type", "");
}

const Defaults& supported(const std::string& model_type, const std::string& source) {
  if (const Defaults* defaults = find_defaults(model_type)) return *defaults;
  throw_error(ErrorCode::kUnsupported,
              "{}: the architecture {} is not supported; supported are qwen3_moe, qwen3_next and "
              "qwen3_5_moe",
              source, format::brief(model_type));
}

}  // namespace

const char* family_name(Family family) {
  switch (family) {
    case Family::kQwen3Moe:
      return "qwen3_moe";
    case Family::kQwen3Next:
      return "qwen3_next";
    case Family::kQwen35Moe:
      return "qwen3_5_moe";
  }
  return "";
}

int ModelConfig::attention_layers() const {
  return static_cast<int>(
      std::count(layer_kinds.begin(), layer_kinds.end(), LayerKind::kAttention));
}

int ModelConfig::delta_layers() const { return layers - attention_layers(); }

int ModelConfig::routed_layers() const {
  return static_cast<int>(std::count(routed.begin(), routed.end(), true));
}

ModelConfig parse_model_config(const json& config, const std::string& source) {
  if (!config.is_object()) {
    throw_error(ErrorCode::kCorrupt, "{}: is not a JSON object", source);
  }
  std::string model_type = model_type_of(config, source);
  const Defaults* defaults = &supported(model_type, source);
  const json* text = &config;
  if (const auto part = config.find("text_config"); part != config.end() && !part->is_null()) {
    if (!part->is_object()) {
      throw_error(ErrorCode::kCorrupt, "{}: text_config is {}, not an object", source,
                  format::brief(*part));
    }
    text = &*part;
    if (part->contains("model_type")) {
      model_type = model_type_of(*part, source);
      defaults = &supported(model_type, source);
    }
  }
  return ConfigParser(*text, config, source, *defaults, model_type).parse();
}

}  // namespace flashmoe::model
