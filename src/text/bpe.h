// Byte-pair encoding of one piece of text: merges neighbouring tokens, lowest rank first and
// leftmost among equals, until no merge applies. Owns vocabulary and merges, not the splitting.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "text/bpe_vocab.h"
#include "text/tokenizer_spec.h"

namespace flashmoe::text {

class Bpe {
 public:
  // The vocabulary's ids must be distinct and not negative.
  explicit Bpe(const TokenizerSpec& spec);

  class Scratch;
  // Appends the tokens of `piece`. Takes n log n time for n bytes.
  void encode(std::string_view piece, Scratch* scratch, std::vector<int32_t>* ids) const;

  // Id of a token by its spelling, -1 when there is none.
  int32_t find(std::string_view spelling) const { return vocab_.find(spelling); }

 private:
  static constexpr uint32_t kNoMerge = UINT32_MAX;
  struct Merge {
    uint32_t rank = kNoMerge;
    int32_t id = -1;  // of the merged token
  };
  struct PairSlot {
    int32_t left = -1, right = -1;
    Merge merge;
  };

  void add_merges(const TokenizerSpec& spec);
  void set_unknown(const TokenizerSpec& spec);
  size_t pair_slot(int32_t left, int32_t right) const;
  Merge merge_of(int32_t left, int32_t right) const { return pairs_[pair_slot(left, right)].merge; }
  void add_symbols(std::string_view piece, std::vector<int32_t>* symbols) const;
  void merge_short(Scratch* scratch) const;
  void merge_long(Scratch* scratch) const;

  TokenMap vocab_;
  std::vector<PairSlot> pairs_;          // open addressing, a power of two, at most half full
  std::array<int32_t, 256> byte_ids_{};  // -1: not in the vocabulary
  int32_t unk_id_ = -1;                  // -1: unknown bytes are dropped
  bool fuse_unk_ = false;
  bool ignore_merges_ = false;
};

// Working memory and a cache of short pieces, for one encode at a time by one Bpe.
class Bpe::Scratch {
 public:
  static constexpr size_t kBytes = size_t{2} << 20;  // of the cache

  Scratch() : cache_(kBytes / sizeof(CachedPiece)) {}

 private:
  friend class Bpe;
  // One cache line: a piece of at most 24 bytes and its at most 9 tokens.
  struct alignas(64) CachedPiece {
    std::array<uint64_t, 3> key{};  // zero-padded
    uint8_t bytes = 0;              // 0: empty
    uint8_t count = 0;
    std::array<int32_t, 9> ids{};
  };
  static_assert(sizeof(CachedPiece) == 64);

  struct Link {
    int32_t previous, next;
  };

  std::vector<CachedPiece> cache_;  // direct-mapped
  std::vector<int32_t> symbols_;
  std::vector<Merge> merges_;
  std::vector<Link> links_;
  std::vector<uint64_t> queue_;
  std::string spelling_;
};

}  // namespace flashmoe::text
