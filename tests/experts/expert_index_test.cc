#include "experts/expert_index.h"

#include <gtest/gtest.h>

namespace flashmoe::experts {
namespace {

// Two experts of 4-bit matrices [64, 64]: codes of 2048 bytes, scales and biases of 128 each.
ExpertIndex make_index(const ExpertParts& first, const ExpertParts& second) {
  ExpertIndex index(1, 2);
  quant::Format format{quant::Encoding::kAffine, quant::DType::kBf16, 4, 64};
  index.set_layer(0, {format, format, format, 64, 64, {first, second}});
  return index;
}

ExpertParts parts_at(uint64_t offset, uint64_t gap, int file = 0) {
  ExpertParts parts;
  for (int i = 0; i < kParts; ++i) {
    const int part = i % kMatrixParts;  // codes, scales, biases; no groups of inputs
    if (part == 3) continue;
    const uint64_t bytes = part == 0 ? 2048 : 128;
    parts[i] = {file, offset, bytes};
    offset += bytes + gap;
  }
  return parts;
}

TEST(ExpertIndexTest, AdjacentPartsAreOneRead) {
  const ExpertIndex index = make_index(parts_at(1000, 0), parts_at(90000, 0));
  const ExpertReads reads = index.reads(0, 4096);
  ASSERT_EQ(reads.count, 1);
  EXPECT_EQ(reads.reads[0].offset, 0u);
  EXPECT_EQ(reads.reads[0].bytes, 8192u);
  EXPECT_EQ(reads.reads[0].needed_bytes, 1000u + 3 * 2304);
  EXPECT_EQ(reads.part_offset[0], 1000u);
  EXPECT_EQ(reads.part_offset[kMatrixParts], 1000u + 2304);
}

TEST(ExpertIndexTest, UnalignedReadsStayExact) {
  const ExpertIndex index = make_index(parts_at(1001, 0), parts_at(90000, 0));
  const ExpertReads reads = index.reads(0, 1);
  ASSERT_EQ(reads.count, 1);
  EXPECT_EQ(reads.reads[0].offset, 1001u);
  EXPECT_EQ(reads.reads[0].bytes, 3u * 2304);
}

// However the parts lie, each is read to where part_offset says, and reads are aligned and do not
// overlap in the staging buffer.
TEST(ExpertIndexTest, EveryPartArrives) {
  for (uint64_t gap : {0, 1, 4095, 4096, 5000, 100000}) {
    for (size_t alignment : {1, 512, 4096}) {
      ExpertParts parts = parts_at(12345, gap);
      std::swap(parts[0], parts[6]);  // not in order on disk
      parts[8].file = 1;
      const ExpertIndex index = make_index(parts, parts_at(7, 3, 1));
      const ExpertReads reads = index.reads(0, alignment);
      EXPECT_LE(reads.staging_bytes, index.staging_bytes(alignment));
      size_t staging_end = 0;
      for (int r = 0; r < reads.count; ++r) {
        const ExpertReads::Read& read = reads.reads[r];
        EXPECT_EQ(read.offset % alignment, 0u);
        EXPECT_EQ(read.bytes % alignment, 0u);
        EXPECT_EQ(read.staging_offset % alignment, 0u);
        EXPECT_GE(read.staging_offset, staging_end);
        EXPECT_LE(read.needed_bytes, read.bytes);
        staging_end = read.staging_offset + read.bytes;
      }
      EXPECT_LE(staging_end, reads.staging_bytes);
      for (int p = 0; p < kParts; ++p) {
        if (parts[p].bytes == 0) continue;
        bool found = false;
        for (int r = 0; r < reads.count; ++r) {
          const ExpertReads::Read& read = reads.reads[r];
          found |= read.file == parts[p].file && read.offset <= parts[p].offset &&
                   parts[p].offset + parts[p].bytes <= read.offset + read.needed_bytes &&
                   reads.part_offset[p] == read.staging_offset + (parts[p].offset - read.offset);
        }
        EXPECT_TRUE(found) << "part " << p << " gap " << gap << " alignment " << alignment;
      }
    }
  }
}

TEST(ExpertIndexTest, CountsBytes) {
  const ExpertIndex index = make_index(parts_at(0, 0), parts_at(90000, 0));
  EXPECT_EQ(index.expert_bytes(0), 3u * 2304);
  EXPECT_EQ(index.total_bytes(), 6u * 2304);
  EXPECT_EQ(index.token_bytes(1), 3u * 2304);
}

}  // namespace
}  // namespace flashmoe::experts
