#include "model/config_values.h"

#include <limits>
#include <utility>

namespace flashmoe::model {

using nlohmann::json;

const json* Values::find(const char* key) const {
  const auto found = object_.find(key);
  return found == object_.end() || found->is_null() ? nullptr : &*found;
}

void Values::fail(const char* key, const std::string& why) const {
  const json* value = find(key);
  throw_error(ErrorCode::kCorrupt, "{}: {}{} is {}: {}", source_, scope_, key,
              value == nullptr ? "absent" : format::brief(*value), why);
}

void Values::refuse(const char* key, const std::string& why) const {
  const json* value = find(key);
  throw_error(ErrorCode::kUnsupported, "{}: {}{} is {}: {}", source_, scope_, key,
              value == nullptr ? "absent" : format::brief(*value), why);
}

int Values::size(const char* key, int fallback, int max, int min) const {
  const json* value = find(key);
  if (value != nullptr && !value->is_number_integer()) fail(key, "it should be a whole number");
  // A default is checked too: it may follow from other keys.
  const json number = value != nullptr ? *value : json(fallback);
  if (number < min || number > max) {
    fail(key, fmt::format("it should be from {} to {}", min, max));
  }
  return number.get<int>();
}

double Values::number(const char* key, double fallback, double min, double max) const {
  const json* value = find(key);
  if (value == nullptr) return fallback;
  if (!value->is_number()) fail(key, "it should be a number");
  const double number = value->get<double>();
  if (!(number >= min && number <= max)) {
    fail(key, fmt::format("it should be from {} to {}", min, max));
  }
  return number;
}

bool Values::flag(const char* key, bool fallback) const {
  const json* value = find(key);
  if (value == nullptr) return fallback;
  if (!value->is_boolean()) fail(key, "it should be true or false");
  return value->get<bool>();
}

std::string Values::text(const char* key, const std::string& fallback) const {
  const json* value = find(key);
  if (value == nullptr) return fallback;
  if (!value->is_string()) fail(key, "it should be a string");
  return value->get<std::string>();
}

const json* Values::list(const char* key) const {
  const json* value = find(key);
  if (value != nullptr && !value->is_array()) fail(key, "it should be a list");
  return value;
}

Values Values::object(const char* key) const {
  static const json kEmpty = json::object();
  const json* value = find(key);
  if (value != nullptr && !value->is_object()) fail(key, "it should be an object");
  return Values(value != nullptr ? *value : kEmpty, source_, scope_ + key + ".");
}

std::vector<int> Values::token_ids(const char* key) const {
  const json* value = find(key);
  if (value == nullptr) return {};
  std::vector<int> ids;
  for (const json& id : value->is_array() ? *value : json::array({*value})) {
    if (!id.is_number_integer() || id < 0 || id > std::numeric_limits<int>::max()) {
      fail(key, "it should be a token id or a list of them");
    }
    ids.push_back(id.get<int>());
  }
  return ids;
}

}  // namespace flashmoe::model
