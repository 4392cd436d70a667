#include "format/method_settings.h"

#include <fmt/format.h>

#include "format/json_file.h"

namespace flashmoe::format {

using nlohmann::json;

const json* MethodSettings::find(const char* key) const {
  if (!settings_.is_object()) return nullptr;
  const auto found = settings_.find(key);
  return found == settings_.end() || found->is_null() ? nullptr : &*found;
}

bool MethodSettings::boolean(const char* key, bool otherwise) const {
  const json* value = find(key);
  if (value == nullptr) return otherwise;
  if (!value->is_boolean()) fail(key, "true or false");
  return value->get<bool>();
}

int64_t MethodSettings::number(const char* key, int64_t otherwise) const {
  const json* value = find(key);
  if (value == nullptr) return otherwise;
  constexpr int64_t kMost = int64_t{1} << 31;
  if (!value->is_number_integer() || *value < -1 || *value > kMost) fail(key, "a number");
  return value->get<int64_t>();
}

std::string MethodSettings::text(const char* key, const std::string& otherwise) const {
  const json* value = find(key);
  if (value == nullptr) return otherwise;
  if (!value->is_string()) fail(key, "a string");
  return value->get<std::string>();
}

void MethodSettings::refuse_transforms() const {
  const json* transforms = find("transform_config");
  if (transforms != nullptr && !transforms->empty()) refuse("transform_config");
  const json* sparsity = find("sparsity_config");
  if (sparsity != nullptr && !sparsity->empty()) {
    const auto format = sparsity->is_object() ? sparsity->find("format") : sparsity->end();
    if (format == sparsity->end() || *format != "dense") refuse("sparsity_config");
  }
}

void MethodSettings::refuse(const char* key) const {
  tensors_.refuse(tensor_, fmt::format("{} {} in config.json", key, brief(*find(key))));
}

void MethodSettings::fail(const char* key, const char* kind) const {
  tensors_.fail(
      ErrorCode::kCorrupt, tensor_,
      fmt::format("{} in config.json's quantisation is {}, not {}", key, brief(*find(key)), kind));
}

}  // namespace flashmoe::format
