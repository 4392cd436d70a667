// Plain C++: the definition of quant/arithmetic.h on the prepared layout, one weight row at a time.
#include <algorithm>
#include <type_traits>

#include "base/check.h"
#include "kernels/cpu/layout.h"
#include "kernels/cpu/linear.h"
#include "quant/arithmetic.h"
#include "quant/decode.h"
#include "quant/interleaved_blocks.h"
#include "quant/small_floats.h"

namespace flashmoe::kernels::cpu {

namespace {

using quant::FloatRow;
using quant::Int8Row;

constexpr int kTile = 8;  // activation rows that share one unpacking

template <typename Row>
Row operand(const std::byte* x, int64_t cols, int64_t i) {
  if constexpr (std::is_same_v<Row, Int8Row>) {
    return quant::int8_row(x + static_cast<size_t>(i) * quant::int8_row_bytes(cols), cols);
  } else {
    return quant::float_row(x + static_cast<size_t>(i) * quant::float_row_bytes(cols), cols);
  }
}

// acc[i] += x[i] · the affine weight row in `lane` of `block`.
template <typename Row>
void dot_affine(const Matrix& weight, const std::byte* block, int lane, const Row* x, int n,
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
    for (int i = 0; i < n; ++i) acc[i] = quant::add_block(acc[i], values, inputs, x[i], begin);
  }
}

// The same of a row of small floats.
template <typename Row>
void dot_floats(const Matrix& weight, const std::byte* block, int lane, const Row* x, int n,
                float* acc) {
  using Code = std::conditional_t<std::is_same_v<Row, Int8Row>, int8_t, float>;
  const quant::Format& format = weight.format;
  const float unit = quant::float_unit(format.bits);
  const int64_t piece = quant::piece_of(format.group);
  for (int64_t begin = 0; begin < weight.cols; begin += piece) {
    const int64_t inputs = std::min(piece, weight.cols - begin);
    Code codes[quant::kBlock];
    if (format.bits == 4) {
      uint8_t unpacked[quant::kBlock];
      for (int64_t i = begin / kUnit * kUnit; i < begin + inputs; i += kUnit) {
        quant::unpack_unit(4, block + i / kUnit * 4 * kVectorBytes, lane, unpacked);
        for (int64_t j = std::max(i, begin); j < std::min(i + kUnit, begin + inputs); ++j) {
          codes[j - begin] = quant::kE2m1Doubled[unpacked[j - i]];
        }
      }
    } else if constexpr (std::is_same_v<Row, FloatRow>) {
      quant::widen_lane(quant::DType::kF8E4M3, block, lane, begin, inputs, codes);
      for (int64_t i = 0; i < inputs; ++i) codes[i] /= unit;
    }
    const float scale = float_scale(format, weight.cols, block, lane, begin / format.group) * unit;
    for (int i = 0; i < n; ++i) {
      acc[i] = quant::add_floats(acc[i], codes, scale, inputs, x[i], begin);
    }
  }
}

template <typename Row>
void dot_blocks(const Matrix& weight, const std::byte* row_block, int lane, const Row* x, int n,
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

template <typename Row>
void linear(const Matrix& weight, const std::byte* x, int64_t n, int64_t block_begin,
            int64_t block_end, float* y, int64_t y_stride) noexcept {
  CHECK(takes_int8(weight.format) || (std::is_same_v<Row, FloatRow>));
  const size_t bytes = quant::interleaved_block_bytes(weight.format, weight.cols);
  for (int64_t first = 0; first < n; first += kTile) {
    const int count = static_cast<int>(std::min<int64_t>(kTile, n - first));
    Row rows[kTile];
    for (int i = 0; i < count; ++i) rows[i] = operand<Row>(x, weight.cols, first + i);
    for (int64_t r = block_begin * kLanes; r < std::min(weight.rows, block_end * kLanes); ++r) {
      const std::byte* block = weight.data + static_cast<size_t>(r / kLanes) * bytes;
      const int lane = static_cast<int>(r % kLanes);
      float acc[kTile] = {};
      switch (weight.format.encoding) {
        case quant::Encoding::kPlain:
          if constexpr (std::is_same_v<Row, FloatRow>) {
            dot_plain(weight, block, lane, rows, count, acc);
          }
          break;
        case quant::Encoding::kAffine:
          dot_affine(weight, block, lane, rows, count, acc);
          break;
        case quant::Encoding::kFloats:
          dot_floats(weight, block, lane, rows, count, acc);
          break;
        case quant::Encoding::kBlocks:
          dot_blocks(weight, block, lane, rows, count, acc);
          break;
      }
      for (int i = 0; i < count; ++i) y[(first + i) * y_stride + r] = acc[i];
    }
  }
}

}  // namespace

const LinearKernels kScalarLinear = {"scalar", linear<Int8Row>, linear<FloatRow>};

}  // namespace flashmoe::kernels::cpu
