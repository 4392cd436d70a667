// Checksums that find damaged bytes: XXH3 with 64 bits. Owns their spelling as text; no defence
// against people.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace flashmoe {

constexpr size_t kChecksumDigits = 16;

uint64_t checksum(std::span<const std::byte> bytes);
std::string checksum_text(uint64_t value);  // 16 hexadecimal digits, lower case, highest first
std::optional<uint64_t> parse_checksum(std::string_view text);  // nothing unless exactly these

}  // namespace flashmoe
