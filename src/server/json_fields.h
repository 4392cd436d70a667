// Reads the JSON of clients: bounded, with errors that name the field. Owns nothing.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace flashmoe::server {

using Json = nlohmann::ordered_json;

// The object that a body holds. Throws ApiError; nesting beyond 128 levels is refused.
Json parse_object(std::string_view body);

// One line of JSON; bytes that are not UTF-8 become U+FFFD.
std::string dump(const Json& json);

// An object of a request. Fields that are absent or null are nullopt or nullptr; others must be of
// the type asked for. Throws ApiError naming the path.
class Fields {
 public:
  explicit Fields(const Json& object, std::string path = {});

  const std::string& path() const { return path_; }
  std::string path_of(std::string_view name) const;

  const Json* find(const char* name) const;
  std::optional<bool> boolean(const char* name) const;
  std::optional<double> number(const char* name, double least, double most) const;
  std::optional<int64_t> integer(const char* name, int64_t least, int64_t most) const;
  std::optional<std::string> string(const char* name) const;
  std::string required_string(const char* name) const;
  std::optional<Fields> object(const char* name) const;
  const Json* array(const char* name) const;
  // A string or an array of strings.
  std::vector<std::string> strings(const char* name) const;

 private:
  const Json* object_;
  std::string path_;
};

}  // namespace flashmoe::server
