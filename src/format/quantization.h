// What config.json says about quantised tensors: MLX's `quantization` (or `quantization_config`),
// one default and overrides by module path; or which other tool quantised. Owns their reading; the tensors' shapes have the last
// word (matrix.h).
#pragma once

#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>

namespace flashmoe::format {

struct QuantizationEntry {
  std::string mode = "affine";
  int bits = 0;   // 0: not given
  int group = 0;  // 0: not given
};

struct QuantizationConfig {
  std::string method;  // `quant_method` of other tools: "fp8", "gptq", ...; empty for MLX
  nlohmann::json settings;  // what else that tool says: read where a tensor calls for it
  std::optional<QuantizationEntry> global;
  std::map<std::string, QuantizationEntry, std::less<>> overrides;  // by module path

  const QuantizationEntry* find_override(std::string_view path) const {
    const auto found = overrides.find(path);
    return found == overrides.end() ? nullptr : &found->second;
  }
};

// Throws Error kCorrupt with `source`, key and value for values of the wrong kind or range.
QuantizationConfig parse_quantization(const nlohmann::json& config, const std::string& source);

}  // namespace flashmoe::format
