// The gated delta net of one layer in its recurrent form (docs/architecture.md has the equations;
// Yang et al., "Gated Delta Networks", 2024). Pieces of work for one thread each.
#pragma once

#include <cstdint>

#include "kernels/backend.h"

namespace flashmoe::kernels::host {

// mixed[row] = silu(causal convolution of qkv at the segment's row r). qkv, mixed [rows, channels].
void convolve_row(const DeltaNetShape& shape, const float* conv, const float* qkv,
                  const DeltaNetSegment& segment, int64_t r, float* mixed) noexcept;

// Fills segment.conv_out with the last conv_width - 1 inputs after the segment.
void save_conv_state(const DeltaNetShape& shape, const float* qkv,
                     const DeltaNetSegment& segment) noexcept;

// Runs one value head over all rows of the segment: delta rule, then the gated norm into its part
// of out [rows, value_width]. mixed [rows, channels] is the convolution's output.
void delta_rule_head(const DeltaNetShape& shape, const DeltaNetWeights& weights,
                     const DeltaNetInput& input, const float* mixed, const DeltaNetSegment& segment,
                     int head, float* out) noexcept;

}  // namespace flashmoe::kernels::host
