#include "engine/prefix_file.h"

#include <bit>
#include <cstring>
#include <string_view>

namespace flashmoe::engine {

namespace {

static_assert(std::endian::native == std::endian::little, "numbers are written from memory");

constexpr std::string_view kMagic = "fmprefix";
constexpr uint32_t kVersion = 1;

// As it lies in the file, without gaps.
struct Layout {
  char magic[8];
  uint32_t version;
  uint32_t kind;
  Digest model, prefix, payload;
  uint64_t tokens, payload_bytes;
  uint64_t reserved;
  uint64_t checksum;  // of all before
};
static_assert(sizeof(Layout) == kPrefixHeaderBytes);
constexpr size_t kCheckedBytes = offsetof(Layout, checksum);

uint64_t header_checksum(const Layout& layout) {
  return digest_of(std::as_bytes(std::span(&layout, 1)).first(kCheckedBytes)).low;
}

}  // namespace

void encode_prefix_header(const PrefixFileHeader& header,
                          std::span<std::byte, kPrefixHeaderBytes> bytes) {
  Layout layout{};
  std::memcpy(layout.magic, kMagic.data(), kMagic.size());
  layout.version = kVersion;
  layout.kind = static_cast<uint32_t>(header.kind);
  layout.model = header.model;
  layout.prefix = header.prefix;
  layout.payload = header.payload;
  layout.tokens = header.tokens;
  layout.payload_bytes = header.payload_bytes;
  layout.checksum = header_checksum(layout);
  std::memcpy(bytes.data(), &layout, sizeof(layout));
}

std::optional<PrefixFileHeader> decode_prefix_header(
    std::span<const std::byte, kPrefixHeaderBytes> bytes, uint64_t file_bytes) {
  Layout layout;
  std::memcpy(&layout, bytes.data(), sizeof(layout));
  if (std::string_view(layout.magic, kMagic.size()) != kMagic || layout.version != kVersion ||
      layout.checksum != header_checksum(layout)) {
    return std::nullopt;
  }
  const bool page = layout.kind == static_cast<uint32_t>(PrefixFileKind::kPage);
  if (!page && layout.kind != static_cast<uint32_t>(PrefixFileKind::kState)) return std::nullopt;
  if (layout.tokens > kMaxPrefixTokens || page != (layout.tokens == 0)) return std::nullopt;
  PrefixFileHeader header{static_cast<PrefixFileKind>(layout.kind),
                          layout.model,
                          layout.prefix,
                          layout.payload,
                          layout.tokens,
                          layout.payload_bytes};
  if (file_bytes < header.payload_offset() ||
      file_bytes - header.payload_offset() != layout.payload_bytes) {
    return std::nullopt;
  }
  return header;
}

Digest prefix_digest(const Digest& model, std::span<const int32_t> tokens) {
  DigestStream digest;
  digest.add(model.low);
  digest.add(model.high);
  digest.add(std::as_bytes(tokens));
  return digest.digest();
}

}  // namespace flashmoe::engine
