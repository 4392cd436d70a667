// Sees the inputs of the model's matrix products, step by step: the seam for measuring what weights
// are multiplied with (convert/importance.h). Owns nothing; changes nothing.
#pragma once

#include <cstdint>
#include <span>

namespace flashmoe::experts {

// Inputs that one or more matrices of a layer share.
enum class DenseInput {
  kMixer,     // of attention's q, k, v and gate, or the delta net's projections
  kMixerOut,  // of attention's or the delta net's output matrix
  kRouted,    // of router, experts and shared expert, or of a dense layer's network
  kDown,      // of the shared expert's or dense network's down matrix
  kHead,      // of the output matrix; belongs to no layer
};

class InputTap {
 public:
  virtual ~InputTap() = default;

  // x [rows, width]; layer counts all layers, for kHead it is their number.
  virtual void on_input(int layer, DenseInput input, const float* x, int64_t rows,
                        int64_t width) = 0;
  // One expert's rows of x [.., hidden], and for each of these the input of its down matrix, inner
  // [rows.size(), intermediate].
  virtual void on_expert(int layer, int expert, const float* x, int64_t hidden,
                         std::span<const int32_t> rows, const float* inner,
                         int64_t intermediate) = 0;
};

}  // namespace flashmoe::experts
