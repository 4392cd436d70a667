// Plain C++: the definition of quant/arithmetic.h on the prepared layout, one weight row at a time.
#include <algorithm>
#include <type_traits>

#include "kernels/cpu/layout.h"
#include "kernels/cpu/linear.h"
#include "quant/arithmetic.h"
#include "quant/decode.h"
#include "quant/interleaved_blocks.h"
#include "quant/small_floats.h"

namespace flashmoe::kernels::cpu {

namespace {

using quant::Int8Row;
using FloatRow = const float*;

constexpr int kTile = 8;  // activation rows that share one unpacking

template <typename Row>
Row operand(const std::byte* x, int64_t cols, int64_t i) {
  if constexpr (std::is_same_v<Row, Int8Row>) {
    return quant::int8_row(x + static_cast<size_t>(i) * quant::int8_row_bytes(cols), cols);
  } else {
    return reinterpret_cast<const float*>(x + static_cast<size_t>(i) * float_row_bytes(cols));
  }
}

// acc[i] += x[i] · the affine weight row in `lane` of `block`.
void dot_affine(const Matrix& weight, const std::byte* block, int lane, const Int8Row* x, int n,
                float* acc) {
  const quant::Format& format = weight.format;
  const AffineShape shape(format);
  const int64_t piece = quant::piece_of(format.group);
  for (int64_t begin = 0; begin < weight.cols; begin += piece) {
    const std::byte* group = block + static_cast<size_t>(begin / format.group) * shape.group_bytes;
    const auto [scale, bias] = scale_and_bias(format, group, lane);
    uint8_t codes[quant::kBlock];
    for (int64_t u = 0; u < piece / kUnit; ++u) {
      const int64_t unit = begin % format.group / kUnit + u;
      quant::unpack_unit(format.bits, group + static_cast<size_t>(unit) * shape.unit_bytes, lane,
                         codes + u * kUnit);
    }
    for (int i = 0; i < n; ++i) {
      acc[i] = quant::add_piece(acc[i], codes, scale, bias, piece, x[i], begin);
    }
  }
}

void dot_plain(const Matrix& weight, const std::byte* block, int lane, const FloatRow* x, int n,
               float* acc) {
  for (int64_t begin = 0; begin < weight.cols; begin += quant::kBlock) {
    const int64_t inputs = std::min(quant::kBlock, weight.cols - begin);
    float values[quant::kBlock];
    quant::widen_lane(weight.format.dtype, block, lane, begin, inputs, values);
    for (int i = 0; i < n; ++i) acc[i] = quant::add_block(acc[i], values, inputs, x[i] + begin);
  }
}

// acc[i] += x[i] · the weight row of small floats in `lane` of `block`.
void dot_e2m1(const Matrix& weight, const std::byte* block, int lane, const Int8Row* x, int n,
              float* acc) {
  const quant::Format& format = weight.format;
  for (int64_t begin = 0; begin < weight.cols; begin += format.group) {
    const int64_t inputs = std::min<int64_t>(format.group, weight.cols - begin);
    uint8_t unpacked[kUnit];
    quant::unpack_unit(4, block + begin / kUnit * 4 * kVectorBytes, lane, unpacked);
    int8_t codes[kUnit];
    for (int64_t i = 0; i < inputs; ++i) {
      codes[i] = quant::kE2m1Doubled[unpacked[begin % kUnit + i]];
    }
    const float scale = float_scale(format, weight.cols, block, lane, begin / format.group) *
                        quant::float_unit(format.bits);
    for (int i = 0; i < n; ++i) {
      acc[i] = quant::add_floats(acc[i], codes, scale, inputs, x[i], begin);
    }
  }
}

void dot_e4m3(const Matrix& weight, const std::byte* block, int lane, const FloatRow* x, int n,
              float* acc) {
  const quant::Format& format = weight.format;
  const float unit = quant::float_unit(format.bits);
  const int64_t piece = quant::piece_of(format.group);
  for (int64_t begin = 0; begin < weight.cols; begin += piece) {
    const int64_t inputs = std::min(piece, weight.cols - begin);
    float codes[quant::kBlock];
    quant::widen_lane(quant::DType::kF8E4M3, block, lane, begin, inputs, codes);
    for (int64_t i = 0; i < inputs; ++i) codes[i] /= unit;
    const float scale = float_scale(format, weight.cols, block, lane, begin / format.group) * unit;
    for (int i = 0; i < n; ++i) {
      acc[i] = quant::add_floats(acc[i], codes, scale, inputs, x[i] + begin);
    }
  }
}

void dot_blocks(const Matrix& weight, const std::byte* row_block, int lane, const Int8Row* x, int n,
                float* acc) {
  const quant::BlockType type = weight.format.block;
  const quant::BlockShape shape = quant::block_shape(type);
  std::byte bytes[quant::kMostBlockBytes];
  quant::Block block;
  for (int64_t begin = 0; begin < weight.cols; begin += shape.inputs) {
    quant::extract_block(type, row_block, lane, begin / shape.inputs, bytes);
    quant::unpack_block(type, bytes, &block);
    for (int i = 0; i < n; ++i) acc[i] = quant::add_block(acc[i], shape, block, x[i], begin);
  }
}

// Adds the products of a weight row, in `lane` of `block`, with rows of the type to acc.
void dot_row(const Matrix& weight, const std::byte* block, int lane, const FloatRow* x, int n,
             float* acc) {
  const bool plain = weight.format.encoding == quant::Encoding::kPlain;
  (plain ? dot_plain : dot_e4m3)(weight, block, lane, x, n, acc);
}
void dot_row(const Matrix& weight, const std::byte* block, int lane, const Int8Row* x, int n,
             float* acc) {
  const quant::Encoding encoding = weight.format.encoding;
  (encoding == quant::Encoding::kAffine   ? dot_affine
   : encoding == quant::Encoding::kFloats ? dot_e2m1
                                          : dot_blocks)(weight, block, lane, x, n, acc);
}

template <typename Row>
void linear_of(const Matrix& weight, const std::byte* x, int64_t n, int64_t block_begin,
               int64_t block_end, float* y, int64_t y_stride) {
  const size_t bytes = quant::interleaved_block_bytes(weight.format, weight.cols);
  for (int64_t first = 0; first < n; first += kTile) {
    const int count = static_cast<int>(std::min<int64_t>(kTile, n - first));
    Row rows[kTile];
    for (int i = 0; i < count; ++i) rows[i] = operand<Row>(x, weight.cols, first + i);
    for (int64_t r = block_begin * kLanes; r < std::min(weight.rows, block_end * kLanes); ++r) {
      const std::byte* block = weight.data + static_cast<size_t>(r / kLanes) * bytes;
      float acc[kTile] = {};
      dot_row(weight, block, static_cast<int>(r % kLanes), rows, count, acc);
      for (int i = 0; i < count; ++i) y[(first + i) * y_stride + r] = acc[i];
    }
  }
}

void linear(const Matrix& weight, const std::byte* x, int64_t n, int64_t block_begin,
            int64_t block_end, float* y, int64_t y_stride) noexcept {
  (takes_int8(weight.format) ? linear_of<Int8Row> : linear_of<FloatRow>)(weight, x, n, block_begin,
                                                                         block_end, y, y_stride);
}

}  // namespace

const LinearKernels kScalarLinear = {"scalar", linear};

}  // namespace flashmoe::kernels::cpu
