// GGUF's blocks, interleaved by 16 rows (see interleaved.h). Owns the layout and the way into and
// out of it; products lie in kernels/cpu/block_tiles.inc.
//
// The 4-byte words of the file's blocks, interleaved by 16 rows: word i of a block is a vector of
// 16 rows x 4 bytes. What of a block does not fit into words (an f16 scale, MXFP4's byte) makes up
// its tail. Where there are tails, a vector of those of the next two blocks (MXFP4: four) lies
// before their words: all 16 of a block, then of the next. So a prepared matrix is as large as in
// its file, but for the rest of the last such vector, and what bits mean is the file's business,
// but for the word of fifth bits of Q5_0 and Q5_1: bit 4 k + j of the file is bit 8 j + k here, so
// that its fields lie as those of other types.
//
// Words lie in the order of the file, but for two types, whose words a product wants in another:
//   Q3_K   its 3 words of scales; for q = 0..7 a word of third bits and one of codes (those of the
//          first 128 inputs); the other 8 words of codes
//   Q6_K   its 4 words of scales; for each half of the inputs and q = 0..7 the words q and 8 + q
//          of its low halves and word q of its high bits
#pragma once

#include <cstddef>
#include <cstdint>

#include "quant/format.h"

namespace flashmoe::quant {

struct BlockLayout {
  int inputs;      // of a block
  int file_bytes;  // of a block
  int words;       // of a block
  int tail_bytes;  // of a block: 0, 1 or 2
  int tail_at;     // offset in the file's block: 0, or behind the words
  int bits_word;   // the word whose bits are moved, or -1

  int words_at() const { return tail_at == 0 ? tail_bytes : 0; }
  size_t words_bytes() const { return static_cast<size_t>(words) * 64; }  // of 16 rows
  size_t row_block_bytes(int64_t cols) const;
  // Offsets in a row block of the words and the tails of block `b`.
  size_t block_at(int64_t b) const;
  size_t tails_at(int64_t b) const;
  // Blocks whose tails share a vector.
  int64_t tails_in_vector() const { return 64 / (16 * tail_bytes); }
};

const BlockLayout& block_layout(BlockType type);

// The rows of one row block into the layout: `count` rows from `codes` on.
void prepare_blocks(BlockType type, int64_t cols, const std::byte* codes, int count,
                    std::byte* row_block);

// Block `b` of one row (lane) as it is in the file.
void extract_block(BlockType type, const std::byte* row_block, int lane, int64_t b,
                   std::byte* bytes);
constexpr int kMostBlockBytes = 256;

}  // namespace flashmoe::quant
