// The compute layout of the CPU: weight matrices interleaved by 16 rows, as quant/interleaved.h
// describes. Owns the way into it, and a row's numbers out of it; products lie in linear.h.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/backend.h"
#include "kernels/cpu/isa.h"
#include "quant/interleaved.h"

namespace flashmoe::kernels::cpu {

using quant::AffineShape;
using quant::FloatsShape;
using quant::kLanes;
using quant::kUnit;
using quant::kVectorBytes;
using quant::row_blocks;
static_assert(kLanes == Backend::kRowBlock);

// As Backend::prepare; `destination` is aligned to 64 bytes.
void prepare(const FileMatrix& source, int64_t row_begin, int64_t rows, std::byte* destination);
// The same with the vectors of `isa`, which must be supported.
void prepare(const FileMatrix& source, int64_t row_begin, int64_t rows, std::byte* destination,
             Isa isa);

// One row back as float32, out [cols]: the bits of quant::decode_row.
void decode_prepared_row(const Matrix& matrix, int64_t row, float* out);

// Of one row and one group: w = code * scale + bias. `group` points to the group in its block.
struct Line {
  float scale, bias;
};
Line scale_and_bias(const quant::Format& format, const std::byte* group, int lane);
// Of one row and one group of small floats.
float float_scale(const quant::Format& format, int64_t cols, const std::byte* block, int lane,
                  int64_t group);

}  // namespace flashmoe::kernels::cpu
