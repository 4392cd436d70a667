// The compute layout of the CPU: weight matrices interleaved by 16 rows, so that one 64-byte vector
// holds the same inputs of 16 rows and a product needs no sums across lanes. Owns the layout and
// the way into and out of it; products lie in linear.h.
//
// A matrix is a sequence of row blocks of 16 rows (the last padded with zero rows). A block is:
//   affine  per weight group: group / 32 units, then 16 scales, then 16 biases in the file's type.
//           A unit is 32 inputs of 16 rows, split into bit planes, wide and low bits first: 8 = 8,
//           6 = 4 + 2, 5 = 4 + 1, 4 = 4, 3 = 2 + 1, 2 = 2. A plane of width w is w vectors; each is
//           16 rows x 4 bytes, and field k (bits [w k, w k + w)) of byte j of vector m belongs to
//           input (m (8 / w) + k) 4 + j of the unit.
//   bf16    vectors of 16 rows x 2 inputs (an odd number of columns is padded with a zero)
//   f16     per input 16 values
//   f32     per input 16 values
//   blocks  see block_layout.h
//   e2m1    units of 4 bits as above (the last filled up with zeros), then per group 16 scales
//   e4m3    per input 16 codes, up to a multiple of 4 inputs, then per group 16 scales; the scale
//           is NaN where one of the group's codes is
// Everything a kernel loads as a vector is aligned to 32 bytes, affine vectors to 64.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/backend.h"
#include "kernels/cpu/isa.h"

namespace flashmoe::kernels::cpu {

constexpr int64_t kLanes = Backend::kRowBlock;
constexpr int64_t kVectorBytes = 64;
constexpr int64_t kUnit = 32;  // inputs

constexpr int64_t row_blocks(int64_t rows) { return (rows + kLanes - 1) / kLanes; }

// Whether there is a layout for the format: plain F32, F16, BF16, every affine one, small floats,
// and all blocks.
bool has_layout(const quant::Format& format);

size_t block_bytes(const quant::Format& format, int64_t cols);
size_t prepared_bytes(const quant::Format& format, int64_t rows, int64_t cols);

// As Backend::prepare; `destination` is aligned to 64 bytes.
void prepare(const FileMatrix& source, int64_t row_begin, int64_t rows, std::byte* destination);
// The same with the vectors of `isa`, which must be supported.
void prepare(const FileMatrix& source, int64_t row_begin, int64_t rows, std::byte* destination,
             Isa isa);

// One row back as float32, out [cols]: the bits of quant::decode_row.
void decode_prepared_row(const Matrix& matrix, int64_t row, float* out);

// The 32 codes of one row (lane) of an affine unit.
void unpack_unit(int bits, const std::byte* unit, int lane, uint8_t* codes);
// Inputs [begin, begin + n) of one row of a plain block, or of an e4m3 block without its scales.
void widen_lane(quant::DType type, const std::byte* block, int lane, int64_t begin, int64_t n,
                float* out);

// Of one row and one group: w = code * scale + bias. `group` points to the group in its block.
struct Line {
  float scale, bias;
};
Line scale_and_bias(const quant::Format& format, const std::byte* group, int lane);
// Of one row and one group of small floats.
float float_scale(const quant::Format& format, int64_t cols, const std::byte* block, int lane,
                  int64_t group);

// Sizes within a block, for the kernels.
struct AffineShape {
  size_t unit_bytes;  // of 32 inputs
  size_t scales_at;   // offset of a group's scales
  size_t biases_at;
  size_t group_bytes;

  explicit AffineShape(const quant::Format& format)
      : unit_bytes(static_cast<size_t>(format.bits) * kVectorBytes),
        scales_at(static_cast<size_t>(format.group) / kUnit * unit_bytes),
        biases_at(scales_at + kLanes * quant::dtype_bytes(format.dtype)),
        group_bytes(2 * biases_at - scales_at) {}
};

struct FloatsShape {
  size_t scales_at;    // offset of the first group's scales
  size_t scale_bytes;  // of a group
  size_t block_bytes;

  FloatsShape(const quant::Format& format, int64_t cols)
      : scales_at(format.bits == 4
                      ? static_cast<size_t>((cols + kUnit - 1) / kUnit) * 4 * kVectorBytes
                      : static_cast<size_t>((cols + 3) / 4) * kVectorBytes),
        scale_bytes(kLanes * quant::dtype_bytes(format.dtype)),
        block_bytes((scales_at +
                     static_cast<size_t>((cols + format.group - 1) / format.group) * scale_bytes +
                     kVectorBytes - 1) /
                    kVectorBytes * kVectorBytes) {}
};

}  // namespace flashmoe::kernels::cpu
