#include "server/json_fields.h"

#include <cmath>
#include <limits>

#include "server/api_error.h"
#include "text/json_message.h"

namespace flashmoe::server {

namespace {

constexpr int kMaxDepth = 128;

class TooDeep : public std::exception {};

}  // namespace

Json parse_object(std::string_view body) {
  const auto bound = [](int depth, Json::parse_event_t, Json&) {
    if (depth > kMaxDepth) throw TooDeep();
    return true;
  };
  Json json;
  try {
    json = Json::parse(body, bound);
  } catch (const TooDeep&) {
    refuse("", "the body's JSON is nested deeper than {} levels", kMaxDepth);
  } catch (const Json::exception& error) {
    refuse("", "the body is not JSON: {}", text::json_message(error));
  }
  if (!json.is_object()) refuse("", "the body must be a JSON object");
  return json;
}

std::string dump(const Json& json) {
  return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

Fields::Fields(const Json& object, std::string path) : object_(&object), path_(std::move(path)) {
  if (!object.is_object()) refuse(path_, "'{}' must be an object", path_);
}

std::string Fields::path_of(std::string_view name) const {
  return path_.empty() ? std::string(name) : fmt::format("{}.{}", path_, name);
}

const Json* Fields::find(const char* name) const {
  const auto at = object_->find(name);
  return at == object_->end() || at->is_null() ? nullptr : &*at;
}

std::optional<bool> Fields::boolean(const char* name) const {
  const Json* value = find(name);
  if (value == nullptr) return std::nullopt;
  if (!value->is_boolean()) refuse(path_of(name), "'{}' must be true or false", path_of(name));
  return value->get<bool>();
}

std::optional<double> Fields::number(const char* name, double least, double most) const {
  const Json* value = find(name);
  if (value == nullptr) return std::nullopt;
  const double number = value->is_number() ? value->get<double>() : std::nan("");
  if (!(number >= least && number <= most)) {
    refuse(path_of(name), "'{}' must be a number from {:g} to {:g}", path_of(name), least, most);
  }
  return number;
}

std::optional<int64_t> Fields::integer(const char* name, int64_t least, int64_t most) const {
  const Json* value = find(name);
  if (value == nullptr) return std::nullopt;
  bool fits = value->is_number_integer();
  if (fits && value->is_number_unsigned()) {
    fits = value->get<uint64_t>() <= uint64_t{std::numeric_limits<int64_t>::max()};
  }
  const int64_t number = fits ? value->get<int64_t>() : 0;
  if (!fits || number < least || number > most) {
    if (most == std::numeric_limits<int64_t>::max()) {
      refuse(path_of(name), "'{}' must be a whole number of at least {}", path_of(name), least);
    }
    refuse(path_of(name), "'{}' must be a whole number from {} to {}", path_of(name), least, most);
  }
  return number;
}

std::optional<std::string> Fields::string(const char* name) const {
  const Json* value = find(name);
  if (value == nullptr) return std::nullopt;
  if (!value->is_string()) refuse(path_of(name), "'{}' must be a string", path_of(name));
  return value->get<std::string>();
}

std::string Fields::required_string(const char* name) const {
  std::optional<std::string> value = string(name);
  if (!value) refuse(path_of(name), "'{}' is missing", path_of(name));
  return *std::move(value);
}

std::optional<Fields> Fields::object(const char* name) const {
  const Json* value = find(name);
  if (value == nullptr) return std::nullopt;
  return Fields(*value, path_of(name));
}

const Json* Fields::array(const char* name) const {
  const Json* value = find(name);
  if (value != nullptr && !value->is_array()) {
    refuse(path_of(name), "'{}' must be an array", path_of(name));
  }
  return value;
}

std::vector<std::string> Fields::strings(const char* name) const {
  const Json* value = find(name);
  if (value == nullptr) return {};
  if (value->is_string()) return {value->get<std::string>()};
  const auto wrong = [&] {
    refuse(path_of(name), "'{}' must be a string or an array of strings", path_of(name));
  };
  if (!value->is_array()) wrong();
  std::vector<std::string> strings;
  for (const Json& item : *value) {
    if (!item.is_string()) wrong();
    strings.push_back(item.get<std::string>());
  }
  return strings;
}

}  // namespace flashmoe::server
