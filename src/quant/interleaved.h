// Weight matrices interleaved by 16 rows, so that one 64-byte vector holds the same inputs of 16
// rows and a product needs no sums across lanes: the compute layout of the CPU, and how a packed
// store keeps experts (Storage::Kind::kInterleaved). Owns the layout and the way back to rows; the
// way into it lies in kernels/cpu/layout.h, products in kernels/cpu/linear.h.
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
//   blocks  see interleaved_blocks.h
//   e2m1    units of 4 bits as above (the last filled up with zeros), then per group 16 scales
//   e4m3    per input 16 codes, up to a multiple of 4 inputs, then per group 16 scales; the scale
//           is NaN where one of the group's codes is NaN
// Everything a kernel loads as a vector is aligned to 32 bytes, affine vectors to 64.
#pragma once

#include <cstddef>
#include <cstdint>

#include "quant/format.h"

namespace flashmoe::quant {

constexpr int64_t kLanes = 16;  // rows
constexpr int64_t kVectorBytes = 64;
constexpr int64_t kUnit = 32;  // inputs

constexpr int64_t row_blocks(int64_t rows) { return (rows + kLanes - 1) / kLanes; }

// Whether there is a layout for the format: plain F32, F16, BF16, every affine one, small floats,
// and all blocks.
bool can_interleave(const Format& format);
// Whether rows come back as they were: all but those of small floats, and formats whose inputs have
// an order of their own.
bool can_restore(const Format& format);

size_t interleaved_block_bytes(const Format& format, int64_t cols);  // of 16 rows
size_t interleaved_bytes(const Format& format, int64_t rows, int64_t cols);

// Where a plain row's input, or an e4m3 code, lies in its block.
size_t plain_offset(DType type, int64_t input, int lane);
// The 32 codes of one row (lane) of an affine unit.
void unpack_unit(int bits, const std::byte* unit, int lane, uint8_t* codes);
// Inputs [begin, begin + n) of one row of a plain block, or of an e4m3 block without its scales.
void widen_lane(DType type, const std::byte* block, int lane, int64_t begin, int64_t n, float* out);

// Rows [begin, begin + n) of a matrix that can_restore, as row-major parts of the format; parts
// that the format has not are unused.
void restore_rows(const Format& format, int64_t cols, const std::byte* interleaved, int64_t begin,
                  int64_t n, std::byte* codes, std::byte* scales, std::byte* biases);

// The bits of a unit's first plane; the second has the rest.
constexpr int wide_plane(int bits) { return bits == 8 ? 8 : bits >= 4 ? 4 : 2; }

// Sizes within a block.
struct AffineShape {
  size_t unit_bytes;  // of 32 inputs
  size_t scales_at;   // offset of a group's scales
  size_t biases_at;
  size_t group_bytes;

  explicit AffineShape(const Format& format)
      : unit_bytes(static_cast<size_t>(format.bits) * kVectorBytes),
        scales_at(static_cast<size_t>(format.group) / kUnit * unit_bytes),
        biases_at(scales_at + kLanes * dtype_bytes(format.dtype)),
        group_bytes(2 * biases_at - scales_at) {}
};

struct FloatsShape {
  size_t scales_at;    // offset of the first group's scales
  size_t scale_bytes;  // of a group
  size_t block_bytes;

  FloatsShape(const Format& format, int64_t cols)
      : scales_at(format.bits == 4
                      ? static_cast<size_t>((cols + kUnit - 1) / kUnit) * 4 * kVectorBytes
                      : static_cast<size_t>((cols + 3) / 4) * kVectorBytes),
        scale_bytes(kLanes * dtype_bytes(format.dtype)),
        block_bytes((scales_at +
                     static_cast<size_t>((cols + format.group - 1) / format.group) * scale_bytes +
                     kVectorBytes - 1) /
                    kVectorBytes * kVectorBytes) {}
};

}  // namespace flashmoe::quant
