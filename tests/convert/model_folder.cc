#include "tests/convert/model_folder.h"

#include <fmt/format.h>

#include <cstring>
#include <filesystem>
#include <fstream>
#include <utility>

#include "base/half.h"
#include "format/safetensors_writer.h"

namespace flashmoe::convert {

namespace {

using model::Family;
using nlohmann::json;
using quant::DType;

constexpr int kLayers = 2;  // of the families with a delta net, the first has one
constexpr int kHeads = 4, kKvHeads = 2, kHeadDim = 32;
constexpr int kKeyHeads = 2, kValueHeads = 4, kDeltaDim = 32, kConvWidth = 4;
constexpr int kShared = 64, kDense = 128;  // inner widths

template <typename T>
void append(T value, std::vector<std::byte>* out) {
  const auto* bytes = reinterpret_cast<const std::byte*>(&value);
  out->insert(out->end(), bytes, bytes + sizeof(T));
}

float rounded(DType type, float value) {
  if (type == DType::kBf16) return to_float(to_bf16(value));
  if (type == DType::kF16) return to_float(to_f16(value));
  return value;
}

}  // namespace

std::vector<std::byte> to_bytes(DType type, const std::vector<float>& values) {
  std::vector<std::byte> bytes;
  for (float value : values) {
    if (type == DType::kBf16) {
      append(to_bf16(value), &bytes);
    } else if (type == DType::kF16) {
      append(to_f16(value), &bytes);
    } else {
      append(value, &bytes);
    }
  }
  return bytes;
}

ModelFolder::ModelFolder(Family family, Layout layout, DType dtype, const ModelSizes& sizes)
    : family_(family), layout_(layout), dtype_(dtype), sizes_(sizes) {
  json text = {{"vocab_size", sizes.vocab},
               {"hidden_size", sizes.hidden},
               {"num_hidden_layers", kLayers},
               {"num_attention_heads", kHeads},
               {"num_key_value_heads", kKvHeads},
               {"head_dim", kHeadDim},
               {"num_experts", sizes.experts},
               {"num_experts_per_tok", 2},
               {"moe_intermediate_size", sizes.intermediate},
               {"tie_word_embeddings", sizes.tied},
               {"rms_norm_eps", 1e-6},
               {"eos_token_id", 3}};
  if (family == Family::kQwen3Moe) {
    text.update({{"model_type", "qwen3_moe"},
                 {"intermediate_size", kDense},
                 {"mlp_only_layers", {1u}},
                 {"rope_theta", 10000.0}});
  } else {
    text.update({{"model_type", family == Family::kQwen3Next ? "qwen3_next" : "qwen3_5_moe_text"},
                 {"layer_types", {"linear_attention", "full_attention"}},
                 {"linear_num_key_heads", kKeyHeads},
                 {"linear_num_value_heads", kValueHeads},
                 {"linear_key_head_dim", kDeltaDim},
                 {"linear_value_head_dim", kDeltaDim},
                 {"linear_conv_kernel_dim", kConvWidth},
                 {"shared_expert_intermediate_size", kShared}});
  }
  if (layout == Layout::kWrapped) {
    config = {{"model_type", "qwen3_5_moe"},
              {"vision_config", {{"depth", 1}}},
              {"image_token_id", 7},
              {"tie_word_embeddings", sizes.tied}};
    text.erase("tie_word_embeddings");  // the wrapper's word counts
    config["text_config"] = text;
    source["model.visual.pos_embed.weight"] = random({16, 64}, dtype);
    source["mtp.layers.0.mlp.gate.weight"] = random({2, 64}, dtype);
    source["mtp.norm.weight"] = random({64}, dtype);
  } else {
    config = text;
  }

  add("embed_tokens.weight", "embed_tokens.weight", {sizes.vocab, sizes.hidden});
  if (!sizes.tied) {
    const Tensor head = random({sizes.vocab, sizes.hidden}, dtype);
    const bool inner = family == Family::kQwen35Moe;
    put(&source,
        inner && layout == Layout::kMlx ? "language_model.lm_head.weight" : "lm_head.weight", head);
    put(&mlx, inner ? "language_model.lm_head.weight" : "lm_head.weight", head);
  }
  add_norm("norm.weight", sizes.hidden);
  for (int i = 0; i < kLayers; ++i) {
    const std::string base = fmt::format("layers.{}.", i);
    add_norm(base + "input_layernorm.weight", sizes.hidden);
    add_norm(base + "post_attention_layernorm.weight", sizes.hidden);
    if (family == Family::kQwen3Moe || i == 1) {
      add_attention(base + "self_attn.");
    } else {
      add_delta_net(base + "linear_attn.");
    }
    if (family == Family::kQwen3Moe && i == 1) {
      add_feed_forward(base + "mlp.", kDense);
      continue;
    }
    const std::string gate = base + "mlp.gate.weight";
    add(gate, gate, {sizes.experts, sizes.hidden});
    add_experts(base + "mlp.");
    if (family == Family::kQwen3Moe) continue;
    add_feed_forward(base + "mlp.shared_expert.", kShared);
    const std::string shared_gate = base + "mlp.shared_expert_gate.weight";
    add(shared_gate, shared_gate, {1, sizes.hidden});
  }
}

ModelFolder::Tensor ModelFolder::random(std::vector<int64_t> shape, DType dtype) {
  int64_t count = 1;
  for (int64_t size : shape) count *= size;
  std::normal_distribution<float> normal(0, 0.2f);
  std::vector<float> values(static_cast<size_t>(count));
  for (float& value : values) value = rounded(dtype, normal(random_));
  return {"", dtype, std::move(shape), std::move(values)};
}

void ModelFolder::put(std::map<std::string, Tensor>* tensors, const std::string& name,
                      Tensor tensor) {
  tensor.name = name;
  (*tensors)[name] = std::move(tensor);
}

std::string ModelFolder::hf_name(const std::string& name) const {
  if (layout_ == Layout::kMlx) return mlx_name(name);
  return (layout_ == Layout::kWrapped ? "model.language_model." : "model.") + name;
}

std::string ModelFolder::mlx_name(const std::string& name) const {
  return (family_ == Family::kQwen35Moe ? "language_model.model." : "model.") + name;
}

void ModelFolder::add(const std::string& hf, const std::string& mlx_suffix,
                      std::vector<int64_t> shape) {
  const Tensor tensor = random(std::move(shape), dtype_);
  put(&source, hf_name(hf), tensor);
  put(&mlx, mlx_name(mlx_suffix), tensor);
}

void ModelFolder::add_norm(const std::string& name, int64_t width) {
  Tensor tensor = random({width}, dtype_);
  put(&source, hf_name(name), tensor);
  if (family_ != Family::kQwen3Moe && layout_ != Layout::kMlx) {
    for (float& value : tensor.values) value = rounded(dtype_, value + 1);
  }
  put(&mlx, mlx_name(name), tensor);
}

void ModelFolder::add_attention(const std::string& base) {
  const bool gated = family_ != Family::kQwen3Moe;
  const struct {
    const char* name;
    int64_t rows, cols;
  } kMatrices[] = {{"q_proj", kHeads * kHeadDim * (gated ? 2 : 1), sizes_.hidden},
                   {"k_proj", kKvHeads * kHeadDim, sizes_.hidden},
                   {"v_proj", kKvHeads * kHeadDim, sizes_.hidden},
                   {"o_proj", sizes_.hidden, kHeads * kHeadDim}};
  for (const auto& m : kMatrices) {
    const std::string name = base + m.name + ".weight";
    add(name, name, {m.rows, m.cols});
  }
  add_norm(base + "q_norm.weight", kHeadDim);
  add_norm(base + "k_norm.weight", kHeadDim);
}

void ModelFolder::add_delta_net(const std::string& base) {
  constexpr int64_t kKeys = kKeyHeads * kDeltaDim, kValues = kValueHeads * kDeltaDim;
  constexpr int64_t kChannels = 2 * kKeys + kValues;
  const auto matrix = [&](const char* name, int64_t rows, int64_t cols) {
    const std::string full = base + name + ".weight";
    add(full, full, {rows, cols});
  };
  if (family_ == Family::kQwen3Next) {
    matrix("in_proj_qkvz", kChannels + kValues, sizes_.hidden);
    matrix("in_proj_ba", 2 * kValueHeads, sizes_.hidden);
  } else {
    matrix("in_proj_qkv", kChannels, sizes_.hidden);
    matrix("in_proj_z", kValues, sizes_.hidden);
    matrix("in_proj_b", kValueHeads, sizes_.hidden);
    matrix("in_proj_a", kValueHeads, sizes_.hidden);
  }
  matrix("out_proj", sizes_.hidden, kValues);
  add(base + "dt_bias", base + "dt_bias", {kValueHeads});
  add(base + "norm.weight", base + "norm.weight", {kDeltaDim});  // the one norm without 1 + w
  const std::string a_log = base + "A_log";
  const Tensor decay = random({kValueHeads}, family_ == Family::kQwen35Moe ? DType::kF32 : dtype_);
  put(&source, hf_name(a_log), decay);
  put(&mlx, mlx_name(a_log), decay);
  const std::string conv = base + "conv1d.weight";
  Tensor taps = random({kChannels, kConvWidth, 1}, dtype_);
  put(&mlx, mlx_name(conv), taps);
  if (layout_ != Layout::kMlx) taps.shape = {kChannels, 1, kConvWidth};
  put(&source, hf_name(conv), taps);
}

void ModelFolder::add_feed_forward(const std::string& base, int64_t intermediate) {
  for (const char* name : {"gate_proj", "up_proj", "down_proj"}) {
    const std::string full = base + name + ".weight";
    const bool down = std::string(name) == "down_proj";
    add(full, full,
        {down ? sizes_.hidden : intermediate, down ? intermediate : int64_t{sizes_.hidden}});
  }
}

void ModelFolder::add_experts(const std::string& base) {
  const int64_t hidden = sizes_.hidden, inner = sizes_.intermediate, experts = sizes_.experts;
  const Tensor gate = random({experts, inner, hidden}, dtype_);
  const Tensor up = random({experts, inner, hidden}, dtype_);
  const Tensor down = random({experts, hidden, inner}, dtype_);
  const std::pair<const char*, const Tensor*> kParts[] = {
      {"gate_proj", &gate}, {"up_proj", &up}, {"down_proj", &down}};
  const int64_t size = inner * hidden;  // of one expert's matrix
  Tensor gate_up = {"", dtype_, {experts, 2 * inner, hidden}, {}};
  for (const auto& [name, stack] : kParts) {
    const std::string stacked = fmt::format("{}switch_mlp.{}.weight", base, name);
    put(&mlx, mlx_name(stacked), *stack);
    if (layout_ == Layout::kMlx) put(&source, hf_name(stacked), *stack);
  }
  for (int64_t e = 0; e < experts; ++e) {
    for (const auto& [name, stack] : kParts) {
      const auto begin = stack->values.begin() + e * size;
      if (layout_ == Layout::kSplit) {
        put(&source, hf_name(fmt::format("{}experts.{}.{}.weight", base, e, name)),
            {"", dtype_, {stack->shape[1], stack->shape[2]}, {begin, begin + size}});
      } else if (stack != &down) {
        gate_up.values.insert(gate_up.values.end(), begin, begin + size);
      }
    }
  }
  if (layout_ == Layout::kFused || layout_ == Layout::kWrapped) {
    put(&source, hf_name(base + "experts.gate_up_proj"), gate_up);
    put(&source, hf_name(base + "experts.down_proj"), down);
  }
}

void ModelFolder::write(const std::string& folder) const {
  std::filesystem::create_directories(folder);
  std::ofstream(folder + "/config.json") << config.dump(2);
  std::vector<format::SafetensorsWriter::Tensor> tensors;
  size_t total_bytes = 0;
  for (const auto& [name, tensor] : source) {
    tensors.push_back({name, tensor.dtype, tensor.shape});
    total_bytes += tensor.values.size() * quant::dtype_bytes(tensor.dtype);
  }
  format::SafetensorsWriter writer(folder, std::move(tensors), {total_bytes * 3 / 5, "pt"});
  for (const auto& [name, tensor] : source) writer.write(to_bytes(tensor.dtype, tensor.values));
  writer.finish();
}

}  // namespace flashmoe::convert
