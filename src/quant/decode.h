// Quantised weights back to float32, one row at a time, in the layout of the file. Owns what every
// format's numbers mean; reading files lies in format/, fast products in kernels/.
//
// Parts of a row (codes, scales, biases) may lie at any address, aligned or not.
#pragma once

#include <cstddef>
#include <cstdint>

#include "quant/format.h"

namespace flashmoe::quant {

// F32, F16 or BF16 values to float32, exactly.
void widen(DType type, int64_t n, const std::byte* values, float* out);

// Codes of `bits` bits from a little-endian bit stream, low bit first. n is a multiple of 8.
void unpack_codes(int bits, int64_t n, const std::byte* codes, uint8_t* out);

// out [cols]: kPlain widens; kAffine is code * scale + bias, the product and the sum each rounded
// to float32; kBlocks as quant/blocks.h says. `scales` and `biases` are for kAffine alone.
void decode_row(const Format& format, int64_t cols, const std::byte* codes, const std::byte* scales,
                const std::byte* biases, float* out);

}  // namespace flashmoe::quant
