#include "quant/interleaved_blocks.h"

#include <algorithm>
#include <cstring>
#include <iterator>

#include "base/check.h"
#include "quant/interleaved.h"

namespace flashmoe::quant {

namespace {

// The places of words, see interleaved_blocks.h.
struct Places {
  uint8_t of[64];
};
constexpr Places kInOrder = [] {
  Places p{};
  for (int w = 0; w < 64; ++w) p.of[w] = static_cast<uint8_t>(w);
  return p;
}();
constexpr Places kQ3Places = [] {
  Places p{};
  for (int q = 0; q < 8; ++q) {
    p.of[q] = static_cast<uint8_t>(3 + 2 * q);
    p.of[8 + q] = static_cast<uint8_t>(4 + 2 * q);
    p.of[16 + q] = static_cast<uint8_t>(19 + q);
  }
  for (int w = 0; w < 3; ++w) p.of[24 + w] = static_cast<uint8_t>(w);
  return p;
}();
constexpr Places kQ6Places = [] {
  Places p{};
  for (int half = 0; half < 2; ++half) {
    for (int q = 0; q < 8; ++q) {
      const int triple = 4 + 24 * half + 3 * q;
      p.of[16 * half + q] = static_cast<uint8_t>(triple);
      p.of[16 * half + 8 + q] = static_cast<uint8_t>(triple + 1);
      p.of[32 + 8 * half + q] = static_cast<uint8_t>(triple + 2);
    }
  }
  for (int w = 0; w < 4; ++w) p.of[48 + w] = static_cast<uint8_t>(w);
  return p;
}();

const uint8_t* places_of(BlockType type) {
  if (type == BlockType::kQ3_K) return kQ3Places.of;
  return type == BlockType::kQ6_K ? kQ6Places.of : kInOrder.of;
}

struct TypeRow {
  BlockType type;
  BlockLayout layout;
};

constexpr TypeRow kTypes[] = {
    {BlockType::kQ4_0, {32, 18, 4, 2, 0, -1}},      {BlockType::kQ4_1, {32, 20, 5, 0, 0, -1}},
    {BlockType::kQ5_0, {32, 22, 5, 2, 0, 0}},       {BlockType::kQ5_1, {32, 24, 6, 0, 0, 1}},
    {BlockType::kQ8_0, {32, 34, 8, 2, 0, -1}},      {BlockType::kQ2_K, {256, 84, 21, 0, 0, -1}},
    {BlockType::kQ3_K, {256, 110, 27, 2, 108, -1}}, {BlockType::kQ4_K, {256, 144, 36, 0, 0, -1}},
    {BlockType::kQ5_K, {256, 176, 44, 0, 0, -1}},   {BlockType::kQ6_K, {256, 210, 52, 2, 208, -1}},
    {BlockType::kIQ2_XXS, {256, 66, 16, 2, 0, -1}}, {BlockType::kIQ2_XS, {256, 74, 18, 2, 0, -1}},
    {BlockType::kIQ3_XXS, {256, 98, 24, 2, 0, -1}}, {BlockType::kIQ1_S, {256, 50, 12, 2, 0, -1}},
    {BlockType::kIQ4_NL, {32, 18, 4, 2, 0, -1}},    {BlockType::kIQ3_S, {256, 110, 27, 2, 0, -1}},
    {BlockType::kIQ2_S, {256, 82, 20, 2, 0, -1}},   {BlockType::kIQ4_XS, {256, 136, 34, 0, 0, -1}},
    {BlockType::kIQ1_M, {256, 56, 14, 0, 0, -1}},   {BlockType::kTQ1_0, {256, 54, 13, 2, 52, -1}},
    {BlockType::kTQ2_0, {256, 66, 16, 2, 64, -1}},  {BlockType::kMXFP4, {32, 17, 4, 1, 0, -1}},
    {BlockType::kNVFP4, {64, 36, 9, 0, 0, -1}},
};

typedef uint32_t Four __attribute__((vector_size(16)));

// Bit 4 k + j of each lane to bit 8 j + k, and back.
Four gather_fields(Four words) {
  Four moved{};
  for (uint32_t j = 0; j < 4; ++j) {  // every fourth bit, moved together
    Four bits = words >> j & 0x11111111u;
    bits = (bits | bits >> 3) & 0x03030303u;
    bits = (bits | bits >> 6) & 0x000f000fu;
    bits = (bits | bits >> 12) & 0xffu;
    moved |= bits << (8 * j);
  }
  return moved;
}
uint32_t scatter_fields(uint32_t word) {
  uint32_t moved = 0;
  for (int i = 0; i < 32; ++i) moved |= (word >> (i % 4 * 8 + i / 4) & 1) << i;
  return moved;
}

// Four words of four rows, `stride` bytes apart, into the lanes of the four vectors at `places`.
void interleave_four(const std::byte* from, size_t stride, const uint8_t* places, std::byte* to) {
  Four rows[4];
  for (size_t r = 0; r < 4; ++r) std::memcpy(&rows[r], from + r * stride, sizeof(Four));
  const Four low01 = __builtin_shufflevector(rows[0], rows[1], 0, 4, 1, 5);
  const Four low23 = __builtin_shufflevector(rows[2], rows[3], 0, 4, 1, 5);
  const Four high01 = __builtin_shufflevector(rows[0], rows[1], 2, 6, 3, 7);
  const Four high23 = __builtin_shufflevector(rows[2], rows[3], 2, 6, 3, 7);
  const Four lanes[4] = {__builtin_shufflevector(low01, low23, 0, 1, 4, 5),
                         __builtin_shufflevector(low01, low23, 2, 3, 6, 7),
                         __builtin_shufflevector(high01, high23, 0, 1, 4, 5),
                         __builtin_shufflevector(high01, high23, 2, 3, 6, 7)};
  for (size_t w = 0; w < 4; ++w) std::memcpy(to + places[w] * 64, &lanes[w], sizeof(Four));
}

// The words of `count` rows, `stride` bytes apart, into as many lanes.
void interleave(const std::byte* from, size_t stride, int words, int count, const uint8_t* places,
                std::byte* to) {
  for (int lane = 0; lane < count; lane += 4) {
    const std::byte* rows = from + static_cast<size_t>(lane) * stride;
    int w = 0;
    if (lane + 4 <= count) {
      for (; w + 4 <= words; w += 4) {
        interleave_four(rows + 4 * w, stride, places + w, to + 4 * lane);
      }
    }
    for (; w < words; ++w) {
      for (int r = 0; r < std::min(4, count - lane); ++r) {
        std::memcpy(to + places[w] * 64 + 4 * (lane + r),
                    rows + static_cast<size_t>(r) * stride + 4 * w, 4);
      }
    }
  }
}

}  // namespace

size_t BlockLayout::block_at(int64_t b) const {
  const int64_t vectors = tail_bytes == 0 ? 0 : b / tails_in_vector() + 1;
  return static_cast<size_t>(b) * words_bytes() + static_cast<size_t>(vectors) * 64;
}

size_t BlockLayout::tails_at(int64_t b) const {
  if (tail_bytes == 0) return 0;
  const int64_t in_vector = b % tails_in_vector();
  return block_at(b - in_vector) - 64 + static_cast<size_t>(in_vector * kLanes * tail_bytes);
}

size_t BlockLayout::row_block_bytes(int64_t cols) const {
  CHECK(cols > 0 && cols % inputs == 0);
  return block_at(cols / inputs - 1) + words_bytes();
}

const BlockLayout& block_layout(BlockType type) {
  const auto* row = std::find_if(std::begin(kTypes), std::end(kTypes),
                                 [type](const TypeRow& r) { return r.type == type; });
  CHECK(row != std::end(kTypes));
  return row->layout;
}

void prepare_blocks(BlockType type, int64_t cols, const std::byte* codes, int count,
                    std::byte* row_block) {
  const BlockLayout& layout = block_layout(type);
  const uint8_t* places = places_of(type);
  const int64_t blocks = cols / layout.inputs;
  const size_t row_bytes = static_cast<size_t>(blocks) * static_cast<size_t>(layout.file_bytes);
  if (count < kLanes) std::memset(row_block, 0, layout.row_block_bytes(cols));
  for (int64_t b = 0; b < blocks; ++b, codes += layout.file_bytes) {
    const std::byte* words = codes + layout.words_at();
    std::byte* to = row_block + layout.block_at(b);
    interleave(words, row_bytes, layout.words, count, places, to);
    if (layout.bits_word >= 0) {
      std::byte* word = to + layout.bits_word * 64;
      for (int lane = 0; lane < kLanes; lane += 4, word += sizeof(Four)) {
        Four lanes;
        std::memcpy(&lanes, word, sizeof(lanes));
        lanes = gather_fields(lanes);
        std::memcpy(word, &lanes, sizeof(lanes));
      }
    }
    if (layout.tail_bytes == 0) continue;
    std::byte* tails = row_block + layout.tails_at(b);
    if (b % layout.tails_in_vector() == 0) std::memset(tails, 0, 64);
    for (int lane = 0; lane < count; ++lane, tails += layout.tail_bytes) {
      std::memcpy(tails, codes + static_cast<size_t>(lane) * row_bytes + layout.tail_at,
                  static_cast<size_t>(layout.tail_bytes));
    }
  }
}

void extract_block(BlockType type, const std::byte* row_block, int lane, int64_t b,
                   std::byte* bytes) {
  const BlockLayout& layout = block_layout(type);
  const std::byte* from = row_block + layout.block_at(b) + 4 * lane;
  std::byte* words = bytes + layout.words_at();
  const uint8_t* places = places_of(type);
  for (int w = 0; w < layout.words; ++w) std::memcpy(words + 4 * w, from + 64 * places[w], 4);
  if (layout.bits_word >= 0) {
    uint32_t word;
    std::memcpy(&word, words + 4 * layout.bits_word, sizeof(word));
    word = scatter_fields(word);
    std::memcpy(words + 4 * layout.bits_word, &word, sizeof(word));
  }
  std::memcpy(bytes + layout.tail_at, row_block + layout.tails_at(b) + lane * layout.tail_bytes,
              static_cast<size_t>(layout.tail_bytes));
}

}  // namespace flashmoe::quant
