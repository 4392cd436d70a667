// JSON from files that others made. Owns the bounds: size, nesting, no key twice.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

namespace flashmoe::format {

constexpr int kMaxJsonDepth = 64;
constexpr uint64_t kMaxJsonFileBytes = uint64_t{256} << 20;

// Throws Error kCorrupt with `source` and the byte where the text is not valid JSON, nests deeper
// than kMaxJsonDepth or names a key twice in one object.
nlohmann::json parse_json(std::string_view text, const std::string& source);

// Reads and parses a whole file. Throws Error kNotFound when it is not there, kIo when it cannot be
// read, kCorrupt when it is empty, a Git LFS pointer or not valid.
nlohmann::json read_json_file(const std::string& path);

// The value as JSON for a message, cut after 60 bytes or so.
std::string brief(const nlohmann::json& value);

}  // namespace flashmoe::format
