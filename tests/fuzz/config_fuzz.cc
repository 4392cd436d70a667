// Fuzzes the readers of config.json and generation_config.json. The first byte chooses a model_type
// for inputs that have none; the rest is JSON. What is accepted must be within its bounds.
#include <cstddef>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <string_view>

#include "base/check.h"
#include "base/error.h"
#include "format/json_file.h"
#include "format/quantization.h"
#include "model/config.h"
#include "model/generation_config.h"

namespace {

using namespace flashmoe::model;

void check(const ModelConfig& c) {
  const auto layers = static_cast<size_t>(c.layers);
  CHECK(c.layers > 0 && c.layer_kinds.size() == layers && c.routed.size() == layers);
  CHECK(c.hidden > 0 && c.vocab > 0 && c.max_context > 0 && c.rms_eps > 0);
  CHECK(c.attention.kv_heads > 0 && c.attention.heads % c.attention.kv_heads == 0);
  CHECK(c.attention.head_dim > 0 && c.attention.head_dim <= 512);
  CHECK(c.attention.rotary_dim > 0 && c.attention.rotary_dim % 2 == 0);
  CHECK(c.attention.rotary_dim <= c.attention.head_dim && c.attention.rope_theta >= 1);
  CHECK(c.moe.experts_per_token > 0 && c.moe.experts_per_token <= c.moe.experts);
  CHECK(c.moe.intermediate > 0 && c.moe.shared_intermediate >= 0);
  CHECK(c.routed_layers() == c.layers || c.dense_intermediate > 0);
  if (c.family == Family::kQwen3Moe) {
    CHECK(c.delta_layers() == 0);
  } else {
    CHECK(c.delta.key_heads > 0 && c.delta.value_heads % c.delta.key_heads == 0);
    CHECK(c.delta.key_dim > 0 && c.delta.key_dim <= 512 && c.delta.value_dim > 0);
    CHECK(c.delta.value_dim <= 512 && c.delta.conv_width > 0);
  }
  for (const int id : c.eos_ids) CHECK(id >= 0);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  constexpr const char* kTypes[] = {"qwen3_moe", "qwen3_next", "qwen3_5_moe", "qwen3_5_moe_text"};
  try {
    nlohmann::json config = flashmoe::format::parse_json(
        std::string_view(reinterpret_cast<const char*>(data + 1), size - 1), "fuzz");
    if (config.is_object()) config.emplace("model_type", kTypes[data[0] % 4]);
    try {
      const ModelConfig parsed = parse_model_config(config, "fuzz");
      check(parsed);
    } catch (const flashmoe::Error&) {
    }
    try {
      const GenerationDefaults g = parse_generation_defaults(config, "fuzz", ModelConfig());
      CHECK(g.temperature >= 0 && g.top_k >= 0 && g.top_p >= 0 && g.top_p <= 1);
      CHECK(g.min_p >= 0 && g.min_p <= 1 && g.repetition_penalty > 0);
    } catch (const flashmoe::Error&) {
    }
    if (config.is_object()) flashmoe::format::parse_quantization(config, "fuzz");
  } catch (const flashmoe::Error&) {
  }
  return 0;
}
