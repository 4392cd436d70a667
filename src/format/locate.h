// From what a user calls a model to its folder or GGUF file. Owns the rules of the Hugging Face
// cache; opens no weights and fetches nothing.
#pragma once

#include <functional>
#include <optional>
#include <string>

namespace flashmoe::format {

// The value of an environment variable; nothing when it is not set.
using Environment = std::function<std::optional<std::string>(const std::string& name)>;
Environment process_environment();

// What `name` stands for, as Checkpoint::open takes it: a folder with config.json and
// *.safetensors, or a .gguf file (the first part of a split one). `name` is such a folder, a .gguf
// file, a folder with the .gguf files of one model, or `org/name` in the local Hugging Face cache.
// Throws Error kNotFound or kUsage with what to do instead.
std::string locate_model(const std::string& name, const Environment& environment);

}  // namespace flashmoe::format
