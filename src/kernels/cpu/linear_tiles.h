// What the vector kernels share. Row blocks outside, tiles of up to 8 activation rows inside, so
// that a block's weights are read from memory once; and the choice of the tile's kernel. Owns no
// arithmetic. Private to the linear_*.cc files.
//
// An instruction set is a struct in its file's anonymous namespace, with
//   kInt8Rows, kFloatRows: the largest tiles, up to 8
//   int8_tile<bits, units, rows>, plain_tile<dtype, rows>
//   kBlocks: one of those below; its tiles lie in block_tiles.inc
//   kFloatsFunctions: one of those below
// where `units` is the number of units in a piece (quant/arithmetic.h): 1 or 2; and one for small
// floats, with kInt8Rows, kFloatRows and
//   e2m1_tile<group, rows>, e4m3_tile<rows>
#pragma once

#include <cstddef>
#include <cstdint>

#include "base/check.h"
#include "kernels/backend.h"
#include "kernels/cpu/linear.h"
#include "quant/arithmetic.h"

namespace flashmoe::kernels::cpu {

struct Tile {
  const std::byte* block;  // the row block's weights
  const std::byte* x;      // the first activation row
  size_t row_bytes;        // from one activation row to the next
  int64_t cols;
  quant::Format format;
  int lanes;  // rows of the block that exist: 1 to 16
  float* y;   // of the block's first row and the first activation row
  int64_t y_stride;
};

// Activation row i of a tile whose weights take them as they are.
inline const float* float_row(const Tile& t, int i) {
  return reinterpret_cast<const float*>(t.x + static_cast<size_t>(i) * t.row_bytes);
}

using TileFunction = void (*)(const Tile&) noexcept;

// One kernel for each number of activation rows, 1 to `most`.
constexpr int kMostRows = 8;
struct TileFunctions {
  int most = 0;
  TileFunction of_rows[kMostRows + 1] = {};
};

// The kernels for GGUF's blocks. They lie in files of their own, by the
// type of block: every type has as many tiles as there are numbers of rows, each of hundreds to
// thousands of instructions.
using BlockFunction = TileFunctions (*)(quant::BlockType type);
struct BlockKernels {
  BlockFunction small, k, iq;  // as block_types_small.inc, block_types_k.inc, block_types_iq.inc
};
extern const BlockKernels kAvx512Blocks, kAvx2Blocks, kNeonBlocks;
TileFunctions block_functions(const BlockKernels& kernels, quant::BlockType type);

void run_tiles(const TileFunctions& functions, const Matrix& weight, const std::byte* x, int64_t n,
               int64_t block_begin, int64_t block_end, float* y, int64_t y_stride) noexcept;

template <typename Isa, int kBits, int kUnits, int kRows = 1>
void add_int8_functions(TileFunctions* f) {
  f->of_rows[kRows] = Isa::template int8_tile<kBits, kUnits, kRows>;
  f->most = kRows;
  if constexpr (kRows < Isa::kInt8Rows) add_int8_functions<Isa, kBits, kUnits, kRows + 1>(f);
}

template <typename Isa, quant::DType kType, int kRows = 1>
void add_plain_functions(TileFunctions* f) {
  f->of_rows[kRows] = Isa::template plain_tile<kType, kRows>;
  f->most = kRows;
  if constexpr (kRows < Isa::kFloatRows) add_plain_functions<Isa, kType, kRows + 1>(f);
}

template <typename Isa, quant::DType kType>
TileFunctions plain_functions() {
  TileFunctions f;
  add_plain_functions<Isa, kType>(&f);
  return f;
}

template <typename Isa, int kBits, int kUnits>
TileFunctions affine_functions_of() {
  TileFunctions f;
  add_int8_functions<Isa, kBits, kUnits>(&f);
  return f;
}

template <typename Isa, int kBits>
TileFunctions affine_functions(int group) {
  return group == 32 ? affine_functions_of<Isa, kBits, 1>() : affine_functions_of<Isa, kBits, 2>();
}

template <typename Isa>
TileFunctions affine_functions(const quant::Format& format) {
  switch (format.bits) {
    case 2:
      return affine_functions<Isa, 2>(format.group);
    case 3:
      return affine_functions<Isa, 3>(format.group);
    case 4:
      return affine_functions<Isa, 4>(format.group);
    case 5:
      return affine_functions<Isa, 5>(format.group);
    case 6:
      return affine_functions<Isa, 6>(format.group);
    default:
      return affine_functions<Isa, 8>(format.group);
  }
}

template <typename Isa>
TileFunctions plain_functions(quant::DType dtype) {
  switch (dtype) {
    case quant::DType::kBf16:
      return plain_functions<Isa, quant::DType::kBf16>();
    case quant::DType::kF16:
      return plain_functions<Isa, quant::DType::kF16>();
    default:
      return plain_functions<Isa, quant::DType::kF32>();
  }
}

// One product of small floats; `rows` counts up to the largest tile.
template <typename Isa, int kGroup, int kRows = 1>
void add_e2m1_functions(TileFunctions* f) {
  f->of_rows[kRows] = Isa::template e2m1_tile<kGroup, kRows>;
  f->most = kRows;
  if constexpr (kRows < Isa::kInt8Rows) add_e2m1_functions<Isa, kGroup, kRows + 1>(f);
}

template <typename Isa, int kRows = 1>
void add_e4m3_functions(TileFunctions* f) {
  f->of_rows[kRows] = Isa::template e4m3_tile<kRows>;
  f->most = kRows;
  if constexpr (kRows < Isa::kFloatRows) add_e4m3_functions<Isa, kRows + 1>(f);
}

template <typename Isa>
TileFunctions floats_functions(const quant::Format& format) {
  TileFunctions f;
  if (format.bits == 8) {
    add_e4m3_functions<Isa>(&f);
  } else if (format.group == 16) {
    add_e2m1_functions<Isa, 16>(&f);
  } else {
    add_e2m1_functions<Isa, 32>(&f);
  }
  return f;
}

// The products of small floats lie in files of their own.
TileFunctions avx512_floats_functions(const quant::Format& format);
TileFunctions avx2_floats_functions(const quant::Format& format);
TileFunctions neon_floats_functions(const quant::Format& format);

template <typename Isa>
TileFunctions tile_functions(const quant::Format& format) {
  switch (format.encoding) {
    case quant::Encoding::kPlain:
      return plain_functions<Isa>(format.dtype);
    case quant::Encoding::kAffine:
      return affine_functions<Isa>(format);
    case quant::Encoding::kFloats:
      return Isa::kFloatsFunctions(format);
    case quant::Encoding::kBlocks:
      return block_functions(Isa::kBlocks, format.block);
  }
  CHECK(!"an encoding");
}

template <typename Isa>
void linear(const Matrix& weight, const std::byte* x, int64_t n, int64_t block_begin,
            int64_t block_end, float* y, int64_t y_stride) noexcept {
  run_tiles(tile_functions<Isa>(weight.format), weight, x, n, block_begin, block_end, y, y_stride);
}

}  // namespace flashmoe::kernels::cpu
