#include "format/quantization.h"

#include <cstdint>

#include "base/error.h"
#include "format/json_file.h"

namespace flashmoe::format {

namespace {

using nlohmann::json;

int parse_count(const json& object, const char* key, const std::string& where) {
  const auto found = object.find(key);
  if (found == object.end()) return 0;
  const uint64_t count = found->is_number_unsigned() ? found->get<uint64_t>() : 0;
  if (count < 1 || count > 65536) {
    throw_error(ErrorCode::kCorrupt, "{}.{} is {}, not a number from 1 to 65536", where, key,
                brief(*found));
  }
  return static_cast<int>(count);
}

QuantizationEntry parse_entry(const json& object, const std::string& where) {
  QuantizationEntry entry;
  if (const auto mode = object.find("mode"); mode != object.end()) {
    if (!mode->is_string()) {
      throw_error(ErrorCode::kCorrupt, "{}.mode is {}, not a string", where, brief(*mode));
    }
    entry.mode = mode->get<std::string>();
  }
  entry.bits = parse_count(object, "bits", where);
  entry.group = parse_count(object, "group_size", where);
  return entry;
}

// `quantization` before `quantization_config`, which MLX writes as its copy and other tools alone;
// a multimodal file may have either in its text_config.
const json* find_section(const json& config, std::string* key) {
  for (const char* name : {"quantization", "quantization_config"}) {
    const auto found = config.find(name);
    if (found != config.end() && !found->is_null()) {
      *key = name;
      return &*found;
    }
  }
  const auto text = config.find("text_config");
  if (text == config.end() || !text->is_object()) return nullptr;
  const json* section = find_section(*text, key);
  if (section != nullptr) *key = "text_config." + *key;
  return section;
}

}  // namespace

QuantizationConfig parse_quantization(const json& config, const std::string& source) {
  QuantizationConfig result;
  std::string key;
  const json* section = find_section(config, &key);
  if (section == nullptr) return result;
  const std::string where = source + ": " + key;
  if (!section->is_object()) {
    throw_error(ErrorCode::kCorrupt, "{} is {}, not an object", where, brief(*section));
  }
  if (const auto method = section->find("quant_method"); method != section->end()) {
    if (!method->is_string()) {
      throw_error(ErrorCode::kCorrupt, "{}.quant_method is {}, not a string", where,
                  brief(*method));
    }
    result.method = method->get<std::string>();
    result.settings = *section;
    return result;
  }
  result.global = parse_entry(*section, where);
  for (const auto& [path, value] : section->items()) {
    // `true` stands for the default and `false` for no quantisation; both show in the tensors.
    if (value.is_object()) {
      result.overrides.emplace(path, parse_entry(value, where + "." + path));
    }
  }
  return result;
}

}  // namespace flashmoe::format
