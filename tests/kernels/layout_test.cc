#include "kernels/cpu/layout.h"

#include <gtest/gtest.h>

#include "tests/kernels/matrices.h"

namespace flashmoe::kernels::cpu {
namespace {

using testing::TestMatrix;

TEST(Layout, GivesEveryRowBack) {
  for (const quant::Format& format : testing::all_formats()) {
    for (int64_t cols : testing::some_cols(format)) {
      for (int64_t rows : {1, 15, 16, 17, 40}) {
        TestMatrix m(format, rows, cols, 11);
        const Matrix prepared = m.prepared();
        std::vector<float> out(static_cast<size_t>(cols));
        for (int64_t r = 0; r < rows; ++r) {
          decode_prepared_row(prepared, r, out.data());
          const std::vector<float> expected = m.decoded(r);
          ASSERT_EQ(std::memcmp(out.data(), expected.data(), out.size() * sizeof(float)), 0)
              << format.name() << " " << dtype_name(format.dtype) << " " << rows << "x" << cols
              << " row " << r;
        }
      }
    }
  }
}

// As they were in the file, to the bit.
TEST(Layout, GivesTheFilesRowsBack) {
  for (const quant::Format& format : testing::all_formats()) {
    if (!quant::can_restore(format)) continue;
    for (int64_t cols : testing::some_cols(format)) {
      const int64_t rows = 40, begin = 13, count = 22;
      TestMatrix m(format, rows, cols, 14);
      const FileMatrix file = m.file_rows(begin, count);
      const std::byte* parts[] = {file.codes, file.scales, file.biases};
      const size_t bytes[] = {format.code_bytes(cols), format.scale_bytes(cols),
                              format.bias_bytes(cols)};
      std::vector<std::byte> restored[3];
      for (int p = 0; p < 3; ++p) restored[p].resize(bytes[p] * count);
      quant::restore_rows(format, cols, m.prepared().data, begin, count, restored[0].data(),
                          restored[1].data(), restored[2].data());
      for (int p = 0; p < 3; ++p) {
        if (bytes[p] == 0) continue;
        EXPECT_EQ(std::memcmp(restored[p].data(), parts[p], restored[p].size()), 0)
            << format.name() << " of " << cols << ", part " << p;
      }
    }
  }
}

TEST(Layout, IsTheSameInParts) {
  for (const quant::Format& format : testing::all_formats()) {
    const int64_t rows = 55, cols = format.encoding == quant::Encoding::kPlain ? 601 : 768;
    TestMatrix m(format, rows, cols, 12);
    const size_t bytes = quant::interleaved_bytes(format, rows, cols);
    AlignedBuffer parts(bytes);
    std::memset(parts.data(), 0xff, bytes);
    for (int64_t begin : {32, 0, 48, 16}) {
      const int64_t count = std::min<int64_t>(16, rows - begin);
      prepare(m.file_rows(begin, count), begin, rows, parts.data());
    }
    EXPECT_EQ(std::memcmp(parts.data(), m.prepared().data, bytes), 0) << format.name();
  }
}

TEST(Layout, IsTheSameFromEveryInstructionSet) {
  const Isa isa = isa_supported(Isa::kNeon) ? Isa::kNeon : Isa::kAvx2;
  if (!isa_supported(isa)) GTEST_SKIP() << "this processor has only one way";
  for (const quant::Format& format : testing::all_formats()) {
    for (int64_t rows : {16, 37}) {
      for (int64_t cols : testing::some_cols(format)) {
        const TestMatrix m(format, rows, cols, 14);
        AlignedBuffer scalar(quant::interleaved_bytes(format, rows, cols)), vector(scalar.bytes());
        std::memset(scalar.data(), 0xff, scalar.bytes());
        std::memset(vector.data(), 0xff, vector.bytes());
        prepare(m.file(), 0, rows, scalar.data(), Isa::kScalar);
        prepare(m.file(), 0, rows, vector.data(), isa);
        EXPECT_EQ(std::memcmp(scalar.data(), vector.data(), scalar.bytes()), 0)
            << format.name() << " " << rows << "x" << cols;
      }
    }
  }
}

TEST(Layout, TakesNoMoreRoomThanTheFile) {
  for (const quant::Format& format : testing::all_formats()) {
    EXPECT_EQ(quant::interleaved_bytes(format, 512, 2048), 512 * format.row_bytes(2048))
        << format.name();
  }
}

TEST(Layout, PadsTheLastBlockWithZeros) {
  const quant::Format format{quant::Encoding::kAffine, quant::DType::kF32, 4, 64};
  const TestMatrix m(format, 1, 64, 13);
  AlignedBuffer prepared(quant::interleaved_bytes(format, 1, 64));
  std::memset(prepared.data(), 0xff, prepared.bytes());
  prepare(m.file(), 0, 1, prepared.data());
  std::vector<float> out(64);
  for (int64_t r = 1; r < 16; ++r) {
    decode_prepared_row({format, 16, 64, prepared.data()}, r, out.data());
    EXPECT_EQ(out, std::vector<float>(64, 0.0f));
  }
}

TEST(Layout, IsKnownForWeightsOnly) {
  using quant::DType, quant::Encoding;
  EXPECT_TRUE(quant::can_interleave({Encoding::kPlain, DType::kBf16, 0, 0}));
  EXPECT_FALSE(quant::can_interleave({Encoding::kPlain, DType::kI32, 0, 0}));
  EXPECT_FALSE(quant::can_interleave({Encoding::kAffine, DType::kBf16, 7, 64}));
  EXPECT_FALSE(quant::can_interleave({Encoding::kAffine, DType::kBf16, 4, 16}));
}

}  // namespace
}  // namespace flashmoe::kernels::cpu
