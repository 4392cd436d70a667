// Quantised weights back to float32, one row at a time, in the layout of the file. Owns what every
// format's numbers mean; reading files lies in format/, fast products in kernels/.
//
// Parts of a row (codes, scales, biases) may lie at any address, aligned or not.
#pragma once

#include <cstddef>
#include <cstdint>

#include "quant/format.h"

namespace flashmoe::quant {

// Values of a weight's or a scale's type (F32, F16, BF16, F8_E4M3, F8_E8M0) to float32, exactly.
void widen(DType type, int64_t n, const std::byte* values, float* out);

// Codes of `bits` bits from a little-endian bit stream, low bit first. n is a multiple of 8.
void unpack_codes(int bits, int64_t n, const std::byte* codes, uint8_t* out);
void pack_codes(int bits, int64_t n, const uint8_t* codes, std::byte* out);

// out [cols], in the order of the codes: kPlain widens; kAffine is code * scale + bias, the product
// and the sum each rounded to float32, and a bias of zero points is -(zero * scale), rounded;
// kFloats is code * scale, rounded; kBlocks as quant/blocks.h says. Parts that the encoding has not
// are unused.
void decode_row(const Format& format, int64_t cols, const std::byte* codes, const std::byte* scales,
                const std::byte* biases, float* out);

}  // namespace flashmoe::quant
