// The innermost loops of quantising, over the weights of one group or one row of moments. They are
// written once (group_loops.inc); a table holds one compilation, so that kernels/ can have them for
// its instruction sets. All tables give the same bits: nothing is reassociated or fused.
#pragma once

#include <cstdint>

namespace flashmoe::quant {

// w = code * scale + bias
struct AffineLine {
  float scale, bias;
};

struct GroupLoops {
  // n is a multiple of 8 but for add_scaled; d [n] are the weights' worths, > 0.
  // Codes are to nearest, ties to even, and clamped to [0, max_code], max_code at most 255.

  // The smallest and the largest of w [n].
  struct Range {
    float low, high;
  };
  Range (*range)(const float* w, int n) noexcept;

  // The codes of w [n], each (w - bias) / scale, as bytes.
  void (*divide)(const float* w, int n, float max_code, AffineLine line, uint8_t* codes) noexcept;

  // The codes of w [n], each (w - bias) * (1 / scale), as floats.
  void (*multiply)(const float* w, int n, float max_code, AffineLine line, float* codes) noexcept;

  // Of each of `count` lines (a multiple of 8): twice, the scale and bias of least cost for the
  // codes that the line gives (as `multiply`) take its place, unless all codes are alike; then its
  // cost, the sum of d * error² for the codes that it gives.
  void (*refit)(const float* w, const float* d, int n, float max_code, int count, float* scales,
                float* biases, float* costs) noexcept;

  // y [n] += a * x [n]
  void (*add_scaled)(float a, const float* x, int64_t n, float* y) noexcept;
};

constexpr float kLeastScale = 1e-7f;  // of a line

// Compiled as the rest of the program is.
extern const GroupLoops kPlainGroupLoops;

}  // namespace flashmoe::quant
