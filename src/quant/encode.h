// Quantisation of float rows into the file layout that quant/decode.h reads. Owns the rule that
// chooses codes, scales and biases; choosing formats per tensor lies in convert/.
#pragma once

#include <cstddef>
#include <cstdint>

#include "quant/format.h"
#include "quant/group_loops.h"

namespace flashmoe::quant {

// weights [cols] to affine codes, scales and biases, with the bits that mlx.core.quantize gives for
// an array of the type `format.dtype` (weights must be values of that type). Per group, all in
// float32:
//   the edge is the largest weight if it is at least as far from zero as the smallest, else the
//   smallest; the scale is the range / (2^bits - 1), at least 1e-7, negative for a largest edge;
//   steps = round(edge / scale); if steps is not 0, scale = edge / steps, so that zero is a code,
//   and bias = edge, else bias = 0;
//   code = round((weight - bias) / scale), clamped; only then are scale and bias rounded to dtype.
// round() is to nearest, ties to even.
void encode_row(const Format& format, int64_t cols, const float* weights, std::byte* codes,
                std::byte* scales, std::byte* biases, const GroupLoops& loops = kPlainGroupLoops);

// Codes that were chosen elsewhere: whole numbers [cols] with scales and biases [cols / group],
// which are rounded to format.dtype.
void store_affine_row(const Format& format, int64_t cols, const float* chosen_codes,
                      const float* chosen_scales, const float* chosen_biases, std::byte* codes,
                      std::byte* scales, std::byte* biases);

}  // namespace flashmoe::quant
