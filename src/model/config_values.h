// Typed reading of a JSON object from a configuration file. Owns the messages, which give file, key
// and value; the keys and their bounds are the caller's.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "base/error.h"
#include "format/json_file.h"

namespace flashmoe::model {

class Values {
 public:
  // `object` must outlive this. `scope` is "" or "rope_parameters.", put before keys in messages.
  Values(const nlohmann::json& object, std::string source, std::string scope)
      : object_(object), source_(std::move(source)), scope_(std::move(scope)) {}

  // Whether the key is there; null counts as absent.
  bool has(const char* key) const { return find(key) != nullptr; }
  bool empty() const { return object_.empty(); }

  // The value of `key`, or `fallback` when it is absent. Throws Error kCorrupt for a value of the
  // wrong kind or range.
  int size(const char* key, int fallback, int max, int min = 1) const;
  double number(const char* key, double fallback, double min, double max) const;
  bool flag(const char* key, bool fallback) const;
  std::string text(const char* key, const std::string& fallback) const;
  // nullptr when absent.
  const nlohmann::json* list(const char* key) const;
  // Empty when absent.
  Values object(const char* key) const;
  // A token id or a list of them; empty when absent.
  std::vector<int> token_ids(const char* key) const;

  // "{file}: {key} is {value}: {why}", as kCorrupt and kUnsupported.
  [[noreturn]] void fail(const char* key, const std::string& why) const;
  [[noreturn]] void refuse(const char* key, const std::string& why) const;

 private:
  const nlohmann::json* find(const char* key) const;

  const nlohmann::json& object_;
  std::string source_;
  std::string scope_;
};

}  // namespace flashmoe::model
