#include "text/bpe_vocab.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

#include <bit>

#include "base/check.h"

namespace flashmoe::text {

TokenMap::TokenMap(size_t expected_tokens) : slots_(std::bit_ceil(2 * expected_tokens + 2)) {}

size_t TokenMap::slot_of(std::string_view text) const {
  const size_t mask = slots_.size() - 1;
  size_t slot = XXH3_64bits(text.data(), text.size()) & mask;
  while (slots_[slot].id >= 0) {
    const Slot& entry = slots_[slot];
    if (text == std::string_view(texts_).substr(entry.begin, entry.length)) break;
    slot = (slot + 1) & mask;
  }
  return slot;
}

bool TokenMap::insert(std::string_view text, int32_t id) {
  CHECK(id >= 0 && 2 * size_ < slots_.size());
  Slot& slot = slots_[slot_of(text)];
  if (slot.id >= 0) return false;
  slot = {id, static_cast<uint32_t>(text.size()), texts_.size()};
  texts_ += text;
  ++size_;
  return true;
}

int32_t TokenMap::find(std::string_view text) const { return slots_[slot_of(text)].id; }

}  // namespace flashmoe::text
