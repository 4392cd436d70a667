// Sizes as people write them: "1.5 GiB". Owns nothing but the two conversions.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace flashmoe {

// Bytes in "16GiB", "512M", "1.5g", "1000": a number and an optional unit K, M, G or T, in either
// case, with or without "B" or "iB"; every unit is a power of 1024. Throws Error kUsage.
uint64_t parse_size(std::string_view text);

// "1.5 GiB", "640 MiB", "12 bytes": at most three significant digits, or whole units.
std::string format_bytes(uint64_t bytes);

}  // namespace flashmoe
