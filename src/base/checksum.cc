#include "base/checksum.h"

#define XXH_INLINE_ALL
#include <fmt/format.h>
#include <xxhash.h>

namespace flashmoe {

uint64_t checksum(std::span<const std::byte> bytes) {
  return XXH3_64bits(bytes.data(), bytes.size());
}

std::string checksum_text(uint64_t value) { return fmt::format("{:016x}", value); }

std::optional<uint64_t> parse_checksum(std::string_view text) {
  if (text.size() != kChecksumDigits) return std::nullopt;
  uint64_t value = 0;
  for (const char c : text) {
    const bool letter = c >= 'a' && c <= 'f';
    if (!letter && (c < '0' || c > '9')) return std::nullopt;
    value = value << 4 | static_cast<uint64_t>(letter ? c - 'a' + 10 : c - '0');
  }
  return value;
}

}  // namespace flashmoe
