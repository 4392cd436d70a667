#include "engine/digest.h"

#include <fmt/format.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

namespace flashmoe::engine {

struct DigestStream::State {
  XXH3_state_t xxh;
};

std::string Digest::hex() const { return fmt::format("{:016x}{:016x}", high, low); }

DigestStream::DigestStream() : state_(std::make_unique<State>()) {
  XXH3_128bits_reset(&state_->xxh);
}
DigestStream::~DigestStream() = default;

void DigestStream::add(std::span<const std::byte> bytes) {
  if (!bytes.empty()) XXH3_128bits_update(&state_->xxh, bytes.data(), bytes.size());
}

void DigestStream::add(std::string_view text) {
  add(uint64_t{text.size()});
  add(std::as_bytes(std::span(text)));
}

Digest DigestStream::digest() const {
  const XXH128_hash_t hash = XXH3_128bits_digest(&state_->xxh);
  return {hash.low64, hash.high64};
}

Digest digest_of(std::span<const std::byte> bytes) {
  const XXH128_hash_t hash = XXH3_128bits(bytes.data(), bytes.size());
  return {hash.low64, hash.high64};
}

}  // namespace flashmoe::engine
