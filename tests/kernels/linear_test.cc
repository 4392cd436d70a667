// Every kernel of every instruction set that this processor has against the definition of
// quant/arithmetic.h, to the bit.
#include "kernels/cpu/linear.h"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstdlib>
#include <limits>

#include "base/error.h"
#include "tests/kernels/matrices.h"

namespace flashmoe::kernels::cpu {
namespace {

using testing::TestMatrix;

constexpr Isa kIsas[] = {Isa::kScalar, Isa::kAvx2, Isa::kAvx512, Isa::kNeon};
constexpr float kUntouched = -12345.5f;

// How activations are taken: int8 rows or floats, as the format takes them, or split rows.
enum class Form { kInt8, kSplit, kFloat };

std::vector<Form> forms_of(const quant::Format& format) {
  if (!takes_int8(format)) return {Form::kFloat};
  return {Form::kInt8, Form::kSplit};
}

const char* name_of(Form form) {
  return form == Form::kInt8 ? " int8 " : form == Form::kSplit ? " split " : " float ";
}

// n activation rows.
class Operands {
 public:
  Operands(const std::vector<float>& x, int64_t n, int64_t cols, Form form)
      : form_(form),
        cols_(cols),
        row_bytes_(form == Form::kInt8    ? quant::int8_row_bytes(cols)
                   : form == Form::kSplit ? quant::split_row_bytes(cols)
                                          : float_row_bytes(cols)),
        buffer_(row_bytes_ * static_cast<size_t>(n)) {
    for (int64_t i = 0; i < n; ++i) {
      const float* from = x.data() + i * cols;
      if (form == Form::kInt8) quant::round_row(from, cols, row(i));
      if (form == Form::kSplit) quant::split_row(from, cols, row(i));
      if (form == Form::kFloat) std::memcpy(row(i), from, static_cast<size_t>(cols) * 4);
    }
  }
  Form form() const { return form_; }
  const std::byte* data() const { return buffer_.data(); }
  quant::Int8Row int8(int64_t i, int part = 0) {
    return quant::int8_row(row(i) + static_cast<size_t>(part) * quant::int8_row_bytes(cols_),
                           cols_);
  }
  // What every kernel must give for this row and one of the matrix.
  float truth(const TestMatrix& m, int64_t matrix_row, int64_t i) {
    switch (form_) {
      case Form::kInt8:
        return m.truth(matrix_row, int8(i));
      case Form::kSplit:
        return quant::sum_parts(m.truth(matrix_row, int8(i, 0)), m.truth(matrix_row, int8(i, 1)),
                                m.truth(matrix_row, int8(i, 2)));
      case Form::kFloat:
        break;
    }
    return m.truth(matrix_row, reinterpret_cast<const float*>(row(i)));
  }

 private:
  std::byte* row(int64_t i) { return buffer_.data() + static_cast<size_t>(i) * row_bytes_; }

  Form form_;
  int64_t cols_;
  size_t row_bytes_;
  AlignedBuffer buffer_;
};

void multiply(const LinearKernels& kernels, const Matrix& weight, const Operands& x, int64_t n,
              int64_t block_begin, int64_t block_end, float* y, int64_t y_stride) {
  if (x.form() == Form::kSplit) {
    linear_split(kernels, weight, x.data(), n, block_begin, block_end, y, y_stride);
  } else {
    kernels.linear(weight, x.data(), n, block_begin, block_end, y, y_stride);
  }
}

class Linear : public ::testing::TestWithParam<Isa> {
 protected:
  void SetUp() override {
    if (!isa_supported(GetParam())) GTEST_SKIP() << "not on this processor";
  }
  const LinearKernels& kernels() { return linear_kernels(GetParam()); }

  // y [n, rows + 3] of all blocks, two or `at_once` to a call.
  std::vector<float> run(const Matrix& weight, const Operands& x, int64_t n, int64_t at_once = 2) {
    const int64_t stride = weight.rows + 3;
    std::vector<float> y(static_cast<size_t>(n * stride), kUntouched);
    for (int64_t block = 0; block < row_blocks(weight.rows); block += at_once) {
      const int64_t end = std::min(block + at_once, row_blocks(weight.rows));
      multiply(kernels(), weight, x, n, block, end, y.data(), stride);
    }
    return y;
  }

  void check(const quant::Format& format, int64_t rows, int64_t cols, int64_t n, Form form,
             int64_t at_once = 2) {
    TestMatrix m(format, rows, cols, 21);
    Operands x(testing::normals(n * cols, 22), n, cols, form);
    const std::vector<float> y = run(m.prepared(), x, n, at_once);
    for (int64_t i = 0; i < n; ++i) {
      for (int64_t r = 0; r < rows + 3; ++r) {
        const float expected = r >= rows ? kUntouched : x.truth(m, r, i);
        const float actual = y[static_cast<size_t>(i * (rows + 3) + r)];
        ASSERT_EQ(std::bit_cast<uint32_t>(actual), std::bit_cast<uint32_t>(expected))
            << format.name() << " " << dtype_name(format.dtype) << name_of(form) << rows << "x"
            << cols << " n=" << n << " at " << i << "," << r;
      }
    }
  }
};

TEST_P(Linear, GivesTheBitsOfTheDefinition) {
  for (const quant::Format& format : testing::all_formats()) {
    for (int64_t cols : testing::some_cols(format)) {
      for (int64_t rows : {1, 4, 15, 16, 17, 40}) {
        for (int64_t n = 1; n <= 9; ++n) {
          if (rows != 17 && n != 1 && n != 4) continue;
          for (Form form : forms_of(format)) check(format, rows, cols, n, form);
          if (HasFatalFailure()) return;
        }
      }
    }
  }
}

// One row takes several blocks of weights at once.
TEST_P(Linear, SplitsRowsOfManyBlocks) {
  const quant::Format format{quant::Encoding::kAffine, quant::DType::kBf16, 4, 64};
  for (int64_t n : {1, 2, 3, 8, 9, 17}) check(format, 21 * 16 + 5, 128, n, Form::kSplit, 30);
}

TEST_P(Linear, HoldsAtTheLargestSums) {
  // All codes at their largest, all activations at +-127.
  for (int bits : {2, 3, 4, 5, 6, 8}) {
    for (int group : {32, 64, 128}) {
      const quant::Format format{quant::Encoding::kAffine, quant::DType::kF32, bits, group};
      const int64_t cols = 256;
      std::vector<std::byte> codes(16 * format.code_bytes(cols), std::byte{0xff});
      std::vector<float> scales(16 * cols / group, 1.0f), biases(16 * cols / group, 0.0f);
      AlignedBuffer data(quant::interleaved_bytes(format, 16, cols));
      prepare({format, 16, cols, codes.data(), reinterpret_cast<const std::byte*>(scales.data()),
               reinterpret_cast<const std::byte*>(biases.data())},
              0, 16, data.data());
      for (float sign : {1.0f, -1.0f}) {
        Operands x(std::vector<float>(static_cast<size_t>(cols), sign * 127), 1, cols, Form::kInt8);
        std::vector<float> y(16);
        kernels().linear({format, 16, cols, data.data()}, x.data(), 1, 0, 1, y.data(), 16);
        for (float v : y)
          ASSERT_EQ(v, sign * 127 * 256 * ((1 << bits) - 1)) << bits << " " << group;
      }
    }
  }
}

TEST_P(Linear, HoldsAtTheLargestSumsOfBlocks) {
  for (quant::BlockType type : testing::all_block_types()) {
    const quant::Format format = quant::Format::of_blocks(type);
    const quant::BlockInfo& info = quant::block_info(type);
    const int64_t cols = 256;
    for (int fill : {0, 0x7f, 0x80, 0xff}) {
      std::vector<std::byte> codes(16 * format.row_bytes(cols), static_cast<std::byte>(fill));
      for (size_t at = 0; at < codes.size(); at += static_cast<size_t>(info.bytes)) {
        testing::tame_block(type, codes.data() + at);
      }
      AlignedBuffer data(quant::interleaved_bytes(format, 16, cols));
      prepare({format, 16, cols, codes.data(), nullptr, nullptr}, 0, 16, data.data());
      for (float sign : {1.0f, -1.0f}) {
        Operands x(std::vector<float>(static_cast<size_t>(cols), sign * 127), 1, cols, Form::kInt8);
        std::vector<float> y(16);
        kernels().linear({format, 16, cols, data.data()}, x.data(), 1, 0, 1, y.data(), 16);
        const float expected = quant::dot(type, codes.data(), cols, x.int8(0));
        for (float v : y) ASSERT_EQ(v, expected) << info.name << " " << fill << " " << sign;
      }
    }
  }
}

TEST_P(Linear, RowsDoNotDependOnTheirCompany) {
  const int64_t rows = 33, cols = 768, n = 21;
  for (const quant::Format& format : testing::all_formats()) {
    TestMatrix m(format, rows, cols, 31);
    const std::vector<float> x = testing::normals(n * cols, 32);
    for (Form form : forms_of(format)) {
      const std::vector<float> all = run(m.prepared(), Operands(x, n, cols, form), n);
      for (int64_t i = 0; i < n; ++i) {
        const std::vector<float> one(x.begin() + i * cols, x.begin() + (i + 1) * cols);
        const std::vector<float> alone = run(m.prepared(), Operands(one, 1, cols, form), 1);
        ASSERT_EQ(std::memcmp(alone.data(), all.data() + i * (rows + 3), rows * sizeof(float)), 0)
            << format.name() << " row " << i;
      }
    }
  }
}

TEST_P(Linear, CarriesNaNThrough) {
  const quant::Format format{quant::Encoding::kAffine, quant::DType::kBf16, 4, 64};
  TestMatrix m(format, 16, 128, 41);
  std::vector<float> x = testing::normals(128, 42);
  x[70] = std::numeric_limits<float>::infinity();
  for (Form form : forms_of(format)) {
    const std::vector<float> y = run(m.prepared(), Operands(x, 1, 128, form), 1);
    for (int r = 0; r < 16; ++r) EXPECT_FALSE(std::isfinite(y[r]));
  }
}

INSTANTIATE_TEST_SUITE_P(Isa, Linear, ::testing::ValuesIn(kIsas),
                         [](const auto& info) { return isa_name(info.param); });

// int8 products against exact ones: the error that rounding activations makes.
TEST(LinearInt8, StaysNearTheExactProduct) {
  const int64_t rows = 64, cols = 2048;
  const quant::Format format{quant::Encoding::kAffine, quant::DType::kBf16, 4, 64};
  TestMatrix m(format, rows, cols, 51);
  const std::vector<float> x = testing::normals(cols, 52);
  const Operands rounded(x, 1, cols, Form::kInt8), exact(x, 1, cols, Form::kSplit);
  std::vector<float> a(rows), b(rows);
  const LinearKernels& kernels = linear_kernels();
  multiply(kernels, m.prepared(), rounded, 1, 0, 4, a.data(), rows);
  multiply(kernels, m.prepared(), exact, 1, 0, 4, b.data(), rows);
  double error = 0, norm = 0;
  for (int64_t r = 0; r < rows; ++r) {
    error += (a[r] - b[r]) * double{a[r] - b[r]};
    norm += b[r] * double{b[r]};
  }
  EXPECT_LT(std::sqrt(error / norm), 0.01);
  EXPECT_GT(std::sqrt(error / norm), 0.0001);
}

// Sets FLASHMOE_ISA for a scope.
class IsaVariable {
 public:
  explicit IsaVariable(const char* value) {
    if (const char* before = std::getenv("FLASHMOE_ISA")) before_ = before;
    setenv("FLASHMOE_ISA", value, 1);
  }
  ~IsaVariable() {
    before_.empty() ? unsetenv("FLASHMOE_ISA") : setenv("FLASHMOE_ISA", before_.c_str(), 1);
  }

 private:
  std::string before_;
};

TEST(ChosenIsa, ObeysTheEnvironment) {
  EXPECT_EQ((IsaVariable("scalar"), chosen_isa()), Isa::kScalar);
  EXPECT_EQ((IsaVariable(""), isa_supported(chosen_isa())), true);
  EXPECT_THROW((IsaVariable("mmx"), chosen_isa()), Error);
  for (Isa isa : kIsas) {
    const IsaVariable variable(isa_name(isa));
    if (isa_supported(isa)) {
      EXPECT_EQ(chosen_isa(), isa);
    } else {
      EXPECT_THROW(chosen_isa(), Error);
    }
  }
}

}  // namespace
}  // namespace flashmoe::kernels::cpu
