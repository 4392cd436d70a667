#include "kernels/cpu/block_layout.h"

#include <algorithm>
#include <cstring>
#include <iterator>

#include "base/check.h"

namespace flashmoe::kernels::cpu {

namespace {

using quant::BlockType;

constexpr int64_t kLanes = Backend::kRowBlock;

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

// Bit 4 k + j to bit 8 j + k, and back.
uint32_t gather_fields(uint32_t word) {
  uint32_t moved = 0;
  for (int i = 0; i < 32; ++i) moved |= (word >> i & 1) << (i % 4 * 8 + i / 4);
  return moved;
}
uint32_t scatter_fields(uint32_t word) {
  uint32_t moved = 0;
  for (int i = 0; i < 32; ++i) moved |= (word >> (i % 4 * 8 + i / 4) & 1) << i;
  return moved;
}

void change_word(std::byte* at, uint32_t (*change)(uint32_t)) {
  uint32_t word;
  std::memcpy(&word, at, sizeof(word));
  word = change(word);
  std::memcpy(at, &word, sizeof(word));
}

}  // namespace

size_t BlockLayout::tails_at(int64_t cols, int64_t b) const {
  const int64_t blocks = cols / inputs;
  return static_cast<size_t>(blocks) * words_bytes() + static_cast<size_t>(b * kLanes * tail_bytes);
}

size_t BlockLayout::row_block_bytes(int64_t cols) const {
  CHECK(cols % inputs == 0);
  return (tails_at(cols, cols / inputs) + 63) / 64 * 64;
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
  const int64_t blocks = cols / layout.inputs;
  const size_t row_bytes = static_cast<size_t>(blocks) * static_cast<size_t>(layout.file_bytes);
  const size_t end = layout.row_block_bytes(cols);
  if (count < kLanes) {
    std::memset(row_block, 0, end);
  } else {
    const size_t tails_end = layout.tails_at(cols, blocks);
    std::memset(row_block + tails_end, 0, end - tails_end);
  }
  std::byte* to = row_block;
  std::byte* tails = row_block + layout.tails_at(cols, 0);
  for (int64_t b = 0; b < blocks; ++b, codes += layout.file_bytes) {
    const std::byte* words = codes + layout.words_at();
    for (int w = 0; w < layout.words; ++w, to += 4 * kLanes) {
      for (int lane = 0; lane < count; ++lane) {
        std::memcpy(to + 4 * lane, words + static_cast<size_t>(lane) * row_bytes + 4 * w, 4);
        if (w == layout.bits_word) change_word(to + 4 * lane, gather_fields);
      }
    }
    for (int lane = 0; lane < count; ++lane, tails += layout.tail_bytes) {
      std::memcpy(tails, codes + static_cast<size_t>(lane) * row_bytes + layout.tail_at,
                  static_cast<size_t>(layout.tail_bytes));
    }
    tails += (kLanes - count) * layout.tail_bytes;
  }
}

void extract_block(BlockType type, int64_t cols, const std::byte* row_block, int lane, int64_t b,
                   std::byte* bytes) {
  const BlockLayout& layout = block_layout(type);
  const std::byte* from = row_block + static_cast<size_t>(b) * layout.words_bytes() + 4 * lane;
  std::byte* words = bytes + layout.words_at();
  for (int w = 0; w < layout.words; ++w) std::memcpy(words + 4 * w, from + 64 * w, 4);
  if (layout.bits_word >= 0) change_word(words + 4 * layout.bits_word, scatter_fields);
  std::memcpy(bytes + layout.tail_at,
              row_block + layout.tails_at(cols, b) + lane * layout.tail_bytes,
              static_cast<size_t>(layout.tail_bytes));
}

}  // namespace flashmoe::kernels::cpu
