#include "text/bpe.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <functional>

#include "base/check.h"
#include "base/error.h"
#include "text/bpe_alphabet.h"

namespace flashmoe::text {
namespace {

// Pieces up to this many symbols are merged by scanning them for the lowest rank.
constexpr size_t kShortSymbols = 48;

constexpr uint64_t mix(uint64_t x) {
  x *= 0x9e3779b97f4a7c15u;
  return x ^ x >> 29;
}

}  // namespace

Bpe::Bpe(const TokenizerSpec& spec)
    : vocab_(spec.vocab.size()), fuse_unk_(spec.fuse_unk), ignore_merges_(spec.ignore_merges) {
  for (const TokenizerSpec::Token& token : spec.vocab) {
    if (!vocab_.insert(token.text, token.id)) {
      throw_error(ErrorCode::kCorrupt, "{}: the vocabulary has the token '{}' twice", spec.name,
                  token.text);
    }
  }
  for (int byte = 0; byte < 256; ++byte) {
    const char bytes[] = {static_cast<char>(byte)};
    std::string spelling;
    append_byte_level({bytes, 1}, &spelling);
    byte_ids_[static_cast<size_t>(byte)] = vocab_.find(spelling);
  }
  add_merges(spec);
  set_unknown(spec);
}

void Bpe::add_merges(const TokenizerSpec& spec) {
  pairs_.resize(std::bit_ceil(2 * spec.merges.size() + 2));
  std::string merged;
  for (size_t rank = 0; rank < spec.merges.size(); ++rank) {
    const std::string& left = spec.merges[rank].first;
    const std::string& right = spec.merges[rank].second;
    merged.assign(left).append(right);
    const auto id_of = [&](const std::string& token) {
      const int32_t id = vocab_.find(token);
      if (id < 0) {
        throw_error(ErrorCode::kCorrupt,
                    "{}: merge {} ('{}' and '{}') needs the token '{}', which the vocabulary lacks",
                    spec.name, rank, left, right, token);
      }
      return id;
    };
    const int32_t left_id = id_of(left), right_id = id_of(right);
    // Of equal pairs the last counts, as in `tokenizers`.
    pairs_[pair_slot(left_id, right_id)] = {
        left_id, right_id, {static_cast<uint32_t>(rank), id_of(merged)}};
  }
}

void Bpe::set_unknown(const TokenizerSpec& spec) {
  const bool complete = std::find(byte_ids_.begin(), byte_ids_.end(), -1) == byte_ids_.end();
  if (!spec.unk_token || complete) return;
  unk_id_ = vocab_.find(*spec.unk_token);
  if (unk_id_ < 0) {
    throw_error(ErrorCode::kCorrupt,
                "{}: the vocabulary lacks both the unknown token '{}' and the bytes that need it",
                spec.name, *spec.unk_token);
  }
}

size_t Bpe::pair_slot(int32_t left, int32_t right) const {
  const size_t mask = pairs_.size() - 1;
  const uint64_t key = uint64_t{static_cast<uint32_t>(left)} << 32 | static_cast<uint32_t>(right);
  size_t slot = mix(mix(key)) & mask;
  while (pairs_[slot].left >= 0 && (pairs_[slot].left != left || pairs_[slot].right != right)) {
    slot = (slot + 1) & mask;
  }
  return slot;
}

void Bpe::encode(std::string_view piece, Scratch* scratch, std::vector<int32_t>* ids) const {
  std::array<uint64_t, 3> key{};
  Scratch::CachedPiece* cached = nullptr;
  if (piece.size() <= sizeof key) {
    std::memcpy(key.data(), piece.data(), piece.size());
    const uint64_t hash = mix(mix(mix(mix(key[0]) ^ key[1]) ^ key[2]) ^ piece.size());
    cached = &scratch->cache_[hash & (scratch->cache_.size() - 1)];
    if (cached->bytes == piece.size() && cached->key == key) {
      ids->insert(ids->end(), cached->ids.data(), cached->ids.data() + cached->count);
      return;
    }
  }
  std::vector<int32_t>& symbols = scratch->symbols_;
  symbols.clear();
  if (ignore_merges_) {
    scratch->spelling_.clear();
    append_byte_level(piece, &scratch->spelling_);
    if (const int32_t id = vocab_.find(scratch->spelling_); id >= 0) symbols.push_back(id);
  }
  if (symbols.empty()) {
    add_symbols(piece, &symbols);
    if (symbols.size() <= kShortSymbols) {
      merge_short(scratch);
    } else {
      merge_long(scratch);
    }
  }
  ids->insert(ids->end(), symbols.begin(), symbols.end());
  if (cached != nullptr && symbols.size() <= cached->ids.size()) {
    cached->key = key;
    cached->bytes = static_cast<uint8_t>(piece.size());
    cached->count = static_cast<uint8_t>(symbols.size());
    std::copy(symbols.begin(), symbols.end(), cached->ids.begin());
  }
}

void Bpe::add_symbols(std::string_view piece, std::vector<int32_t>* symbols) const {
  bool after_unknown = false;
  for (const char byte : piece) {
    const int32_t id = byte_ids_[static_cast<unsigned char>(byte)];
    if (id >= 0) {
      symbols->push_back(id);
    } else if (unk_id_ >= 0 && !(fuse_unk_ && after_unknown)) {
      symbols->push_back(unk_id_);
    }
    after_unknown = id < 0;
  }
}

void Bpe::merge_short(Scratch* scratch) const {
  std::vector<int32_t>& symbols = scratch->symbols_;
  if (symbols.size() < 2) return;
  size_t count = symbols.size();
  std::array<Merge, kShortSymbols> merges;  // merges[i]: of symbols i and i + 1
  for (size_t i = 0; i + 1 < count; ++i) merges[i] = merge_of(symbols[i], symbols[i + 1]);
  for (;;) {
    size_t best = 0;
    for (size_t i = 1; i + 1 < count; ++i) {
      if (merges[i].rank < merges[best].rank) best = i;
    }
    if (count < 2 || merges[best].rank == kNoMerge) break;
    symbols[best] = merges[best].id;
    --count;
    for (size_t i = best + 1; i < count; ++i) {
      symbols[i] = symbols[i + 1];
      merges[i - 1] = merges[i];
    }
    if (best > 0) merges[best - 1] = merge_of(symbols[best - 1], symbols[best]);
    if (best + 1 < count) merges[best] = merge_of(symbols[best], symbols[best + 1]);
  }
  symbols.resize(count);
}

void Bpe::merge_long(Scratch* scratch) const {
  std::vector<int32_t>& symbols = scratch->symbols_;  // -1: merged into the one before
  std::vector<Merge>& merges = scratch->merges_;      // of each symbol and the next
  std::vector<Scratch::Link>& links = scratch->links_;
  std::vector<uint64_t>& queue = scratch->queue_;  // rank << 32 | position: least first
  CHECK(symbols.size() < INT32_MAX);
  const auto count = static_cast<int32_t>(symbols.size());
  merges.assign(symbols.size(), Merge{});
  links.resize(symbols.size());
  queue.clear();
  const auto at = [](auto& values, int32_t i) -> auto& { return values[static_cast<size_t>(i)]; };
  const auto update = [&](int32_t i) {
    const int32_t next = at(links, i).next;
    at(merges, i) = next < count ? merge_of(at(symbols, i), at(symbols, next)) : Merge{};
    const uint32_t rank = at(merges, i).rank;
    if (rank == kNoMerge) return false;
    queue.push_back(uint64_t{rank} << 32 | static_cast<uint32_t>(i));
    return true;
  };
  const auto update_and_push = [&](int32_t i) {
    if (update(i)) std::push_heap(queue.begin(), queue.end(), std::greater<>());
  };
  for (int32_t i = 0; i < count; ++i) at(links, i) = {i - 1, i + 1};
  for (int32_t i = 0; i < count; ++i) update(i);
  std::make_heap(queue.begin(), queue.end(), std::greater<>());
  while (!queue.empty()) {
    std::pop_heap(queue.begin(), queue.end(), std::greater<>());
    const auto rank = static_cast<uint32_t>(queue.back() >> 32);
    const auto i = static_cast<int32_t>(queue.back() & UINT32_MAX);
    queue.pop_back();
    // An entry is out of date when its pair is no more.
    if (at(symbols, i) < 0 || at(merges, i).rank != rank) continue;
    const int32_t merged = at(links, i).next, next = at(links, merged).next;
    at(symbols, i) = at(merges, i).id;
    at(symbols, merged) = -1;
    at(links, i).next = next;
    if (next < count) at(links, next).previous = i;
    update_and_push(i);
    if (const int32_t previous = at(links, i).previous; previous >= 0) update_and_push(previous);
  }
  symbols.erase(std::remove(symbols.begin(), symbols.end(), -1), symbols.end());
}

}  // namespace flashmoe::text
