#include "model/gguf_config.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <optional>
#include <string>
#include <string_view>

#include "base/error.h"
#include "model/config_values.h"

namespace flashmoe::model {

namespace {

using nlohmann::json;

constexpr int kMaxInt = std::numeric_limits<int>::max();
constexpr int kMaxBlocks = 4096;  // keeps the list of their kinds small
constexpr const char* kArchitectureKey = "general.architecture";

struct Architecture {
  const char* name;
  const char* model_type;
  const char* class_name;  // of transformers
  bool has_delta_net;
};

constexpr Architecture kArchitectures[] = {
    {"qwen3moe", "qwen3_moe", "Qwen3MoeForCausalLM", false},
    {"qwen3next", "qwen3_next", "Qwen3NextForCausalLM", true},
    {"qwen35moe", "qwen3_5_moe_text", "Qwen3_5MoeForCausalLM", true},
};

// Keys of other models that change what is computed, with the values at which they do not.
struct Neutral {
  const char* key;
  double value;
};
constexpr Neutral kNeutral[] = {
    {"attention.sliding_window", 0}, {"expert_gating_func", 1 /* softmax */},
    {"expert_weights_scale", 1},     {"final_logit_softcapping", 0},
    {"attn_logit_softcapping", 0},   {"leading_dense_block_count", 0},
    {"rope.scaling.factor", 1},
};

const Architecture& architecture_of(const format::Checkpoint& checkpoint) {
  const Values metadata(checkpoint.config(), checkpoint.path(), "");
  const std::string name = metadata.text(kArchitectureKey, "");
  const auto* found = std::find_if(std::begin(kArchitectures), std::end(kArchitectures),
                                   [&](const Architecture& a) { return a.name == name; });
  if (found != std::end(kArchitectures)) return *found;
  metadata.refuse(kArchitectureKey,
                  "this architecture is not supported; supported are qwen3moe, qwen3next and "
                  "qwen35moe");
}

// The keys "ARCHITECTURE.x", as "x".
json own_keys(const json& metadata, const std::string& prefix) {
  json own = json::object();
  for (const auto& [key, value] : metadata.items()) {
    if (key.starts_with(prefix)) own[key.substr(prefix.size())] = value;
  }
  return own;
}

// The shortest number that is this value in float32, as which files have it: 1e-06.
json shortest(double value) { return std::stod(fmt::format("{}", static_cast<float>(value))); }

class Translator {
 public:
  explicit Translator(const format::Checkpoint& checkpoint)
      : checkpoint_(checkpoint),
        architecture_(architecture_of(checkpoint)),
        prefix_(std::string(architecture_.name) + '.'),
        own_(own_keys(checkpoint.config(), prefix_)),
        values_(own_, checkpoint.path(), prefix_) {}

  int prediction_layers() const { return values_.size("nextn_predict_layers", 0, kMaxInt, 0); }

  json translate() {
    refuse_unsupported();
    config_["model_type"] = architecture_.model_type;
    config_["architectures"] = {architecture_.class_name};
    config_["hidden_act"] = "silu";
    config_["attention_bias"] = false;
    config_["hidden_size"] = size("embedding_length");
    config_["max_position_embeddings"] = size("context_length");
    config_["rms_norm_eps"] = shortest(required("attention.layer_norm_rms_epsilon", 0.1));
    config_["vocab_size"] = vocabulary();
    config_["tie_word_embeddings"] = checkpoint_.find("output.weight") == nullptr;
    add_layers();
    add_attention();
    if (architecture_.has_delta_net) add_delta_net();
    add_experts();
    for (const char* token : {"bos", "eos", "pad"}) {
      const auto id = checkpoint_.config().find(fmt::format("tokenizer.ggml.{}_token_id", token));
      if (id != checkpoint_.config().end()) config_[fmt::format("{}_token_id", token)] = *id;
    }
    return std::move(config_);
  }

 private:
  // A size that must be there.
  int size(const char* key) const { return values_.size(key, 0, kMaxInt); }
  double required(const char* key, double max) const {
    return values_.number(key, values_.has(key) ? 0 : fail_absent(key), 0, max);
  }
  [[noreturn]] double fail_absent(const char* key) const {
    values_.fail(key, "the model cannot be run without it");
  }

  void refuse_unsupported() const {
    for (const Neutral& neutral : kNeutral) {
      if (!values_.has(neutral.key)) continue;
      constexpr double kLimit = 1e300;
      if (values_.number(neutral.key, 0, -kLimit, kLimit) != neutral.value) {
        values_.refuse(neutral.key, fmt::format("only {} is supported", neutral.value));
      }
    }
    const std::string scaling = values_.text("rope.scaling.type", "none");
    if (scaling != "none") {
      values_.refuse("rope.scaling.type", "scaled rotary embeddings are not supported");
    }
  }

  int64_t vocabulary() const {
    const format::TensorInfo* embedding = checkpoint_.find("token_embd.weight");
    if (embedding == nullptr || embedding->shape.size() != 2) {
      throw_error(ErrorCode::kNotFound,
                  "{}: has no tensor token_embd.weight, so it is no model that can be run; is it a "
                  "vocabulary alone, or a part of a model?",
                  checkpoint_.path());
    }
    return embedding->shape[0];
  }

  void add_layers() {
    const int blocks = values_.size("block_count", 0, kMaxBlocks);
    layers_ = blocks - prediction_layers();
    if (layers_ < 1) {
      values_.fail("nextn_predict_layers", fmt::format("block_count is {}", blocks));
    }
    config_["num_hidden_layers"] = layers_;
    if (!architecture_.has_delta_net) return;
    const int interval = values_.size("full_attention_interval", 4, kMaxInt);
    const json* recurrent = values_.list("attention.recurrent_layers");
    if (recurrent != nullptr && recurrent->size() < static_cast<size_t>(layers_)) {
      values_.fail("attention.recurrent_layers", fmt::format("there are {} layers", layers_));
    }
    for (int i = 0; i < layers_; ++i) {
      bool delta = (i + 1) % interval != 0;
      if (recurrent != nullptr) {  // the interval is then not to be trusted
        const json& flag = (*recurrent)[static_cast<size_t>(i)];
        if (!flag.is_boolean()) {
          values_.fail("attention.recurrent_layers", "it should be a list of true and false");
        }
        delta = flag.get<bool>();
      }
      attends_.push_back(!delta);
      config_["layer_types"].push_back(delta ? "linear_attention" : "full_attention");
    }
  }

  // A size of attention layers: one for all, or a list with one for each layer.
  std::optional<int> attention_size(const char* key) const {
    const auto found = own_.find(key);
    if (found == own_.end()) return std::nullopt;
    if (!found->is_array()) return size(key);
    std::optional<json> common;
    for (size_t i = 0; i < std::min(found->size(), static_cast<size_t>(layers_)); ++i) {
      if (!attends_.empty() && !attends_[i]) continue;
      if (common && *common != (*found)[i]) {
        values_.refuse(key, "layers of different sizes are not supported");
      }
      common = (*found)[i];
    }
    const json same = {{key, common.value_or(0)}};
    return Values(same, checkpoint_.path(), prefix_).size(key, 0, kMaxInt);
  }

  void add_attention() {
    const int heads = attention_size("attention.head_count").value_or(0);
    if (heads < 1) values_.fail("attention.head_count", "the model cannot be run without it");
    const int head_dim =
        values_.size("attention.key_length", size("embedding_length") / heads, kMaxInt);
    if (values_.size("attention.value_length", head_dim, kMaxInt) != head_dim) {
      values_.refuse("attention.value_length",
                     "values of another size than the keys are not supported");
    }
    config_["num_attention_heads"] = heads;
    config_["num_key_value_heads"] = attention_size("attention.head_count_kv").value_or(heads);
    config_["head_dim"] = head_dim;
    const json theta = shortest(values_.number("rope.freq_base", 10000, 0, 1e15));
    const int rotary_dim = values_.size("rope.dimension_count", head_dim, head_dim);
    const json factor = rotary_factor(rotary_dim, head_dim);
    if (config_["model_type"] == "qwen3_5_moe_text") {
      config_["rope_parameters"] = {
          {"rope_type", "default"}, {"rope_theta", theta}, {"partial_rotary_factor", factor}};
      return;
    }
    config_["rope_theta"] = theta;
    if (architecture_.has_delta_net) {
      config_["partial_rotary_factor"] = factor;
    } else if (rotary_dim != head_dim) {
      values_.refuse("rope.dimension_count",
                     "only whole heads can be rotated in this architecture");
    }
  }

  // Such that head_dim * factor, cut to a whole number, is rotary_dim.
  static double rotary_factor(int rotary_dim, int head_dim) {
    const double factor = static_cast<double>(rotary_dim) / head_dim;
    return static_cast<int>(head_dim * factor) == rotary_dim ? factor : std::nextafter(factor, 1.0);
  }

  void add_delta_net() {
    const int value_heads = size("ssm.time_step_rank");
    const int dim = size("ssm.state_size");
    config_["linear_num_key_heads"] = size("ssm.group_count");
    config_["linear_num_value_heads"] = value_heads;
    config_["linear_key_head_dim"] = dim;
    config_["linear_value_head_dim"] = dim;
    config_["linear_conv_kernel_dim"] = size("ssm.conv_kernel");
    if (size("ssm.inner_size") != int64_t{value_heads} * dim) {
      values_.fail("ssm.inner_size", fmt::format("it should be time_step_rank, {}, times "
                                                 "state_size, {}",
                                                 value_heads, dim));
    }
  }

  void add_experts() {
    config_["num_experts"] = size("expert_count");
    config_["num_experts_per_tok"] = size("expert_used_count");
    config_["moe_intermediate_size"] = size("expert_feed_forward_length");
    config_["norm_topk_prob"] = true;  // no key says so
    if (architecture_.has_delta_net) {
      config_["shared_expert_intermediate_size"] =
          values_.size("expert_shared_feed_forward_length", 0, kMaxInt, 0);
    }
  }

  const format::Checkpoint& checkpoint_;
  const Architecture& architecture_;
  const std::string prefix_;
  const json own_;
  const Values values_;
  json config_ = json::object();
  int layers_ = 0;
  std::vector<bool> attends_;  // by layer; empty when all do
};

}  // namespace

bool has_gguf_config(const format::Checkpoint& checkpoint) {
  return checkpoint.config().contains(kArchitectureKey);
}

json gguf_config_json(const format::Checkpoint& checkpoint) {
  return Translator(checkpoint).translate();
}

int gguf_prediction_layers(const format::Checkpoint& checkpoint) {
  return Translator(checkpoint).prediction_layers();
}

}  // namespace flashmoe::model
