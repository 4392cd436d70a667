// The files of the prefix cache on disk, to the byte. Owns their headers' layout; opens nothing.
//
//   header (kPrefixHeaderBytes, little-endian) | tokens, int32 each | payload
//
// A page file holds the keys and values of one full page of positions; it has no tokens, since it
// is known by the digest of the model and of all tokens up to its end. A state file holds the rest
// of a state: all its tokens, the page that it ends in if that is not full, the recurrent states,
// and the logits after the last token if these were computed.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

#include "engine/digest.h"

namespace flashmoe::engine {

constexpr size_t kPrefixHeaderBytes = 96;
constexpr uint64_t kMaxPrefixTokens = uint64_t{1} << 26;

enum class PrefixFileKind : uint32_t { kPage = 1, kState = 2 };

struct PrefixFileHeader {
  PrefixFileKind kind = PrefixFileKind::kState;
  Digest model;    // whose states these are
  Digest prefix;   // prefix_digest of the tokens up to the end
  Digest payload;  // digest_of it
  uint64_t tokens = 0;
  uint64_t payload_bytes = 0;

  uint64_t payload_offset() const { return kPrefixHeaderBytes + tokens * sizeof(int32_t); }
  bool operator==(const PrefixFileHeader&) const = default;
};

void encode_prefix_header(const PrefixFileHeader& header,
                          std::span<std::byte, kPrefixHeaderBytes> bytes);
// nullopt when the bytes are no such header, are damaged, or contradict the file's size.
std::optional<PrefixFileHeader> decode_prefix_header(
    std::span<const std::byte, kPrefixHeaderBytes> bytes, uint64_t file_bytes);

Digest prefix_digest(const Digest& model, std::span<const int32_t> tokens);

}  // namespace flashmoe::engine
