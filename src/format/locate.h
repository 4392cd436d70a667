// From what a user calls a model to its folder. Owns the rules of the Hugging Face cache; opens no
// weights and fetches nothing.
#pragma once

#include <functional>
#include <optional>
#include <string>

namespace flashmoe::format {

// The value of an environment variable; nothing when it is not set.
using Environment = std::function<std::optional<std::string>(const std::string& name)>;
Environment process_environment();

// The folder, with a config.json, that `name` stands for: a folder, or `org/name` in the local
// Hugging Face cache. Throws Error kNotFound, kUsage or kUnsupported with what to do instead.
std::string locate_model(const std::string& name, const Environment& environment);

}  // namespace flashmoe::format
