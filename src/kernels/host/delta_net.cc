#include "kernels/host/delta_net.h"

#include <algorithm>
#include <cmath>

#include "kernels/host/elementwise.h"

namespace flashmoe::kernels::host {

namespace {

// The layer's input `back` rows before row r of the segment, from the segment itself or its state.
const float* input_before(const DeltaNetShape& shape, const float* qkv,
                          const DeltaNetSegment& segment, int64_t r, int64_t back) {
  const int64_t channels = shape.channels();
  const int64_t row = r - back;
  if (row >= 0) return qkv + (segment.row_begin + row) * channels;
  return segment.conv_in + (shape.conv_width - 1 + row) * channels;
}

// x [n] / sqrt(sum(x²) + 1e-6) * factor. The constant is the model's, whatever its norm's eps.
void l2_normalize(const float* x, int64_t n, float factor, float* out) {
  const float scale = factor / std::sqrt(dot(x, x, n) + 1e-6f);
  for (int64_t i = 0; i < n; ++i) out[i] = x[i] * scale;
}

}  // namespace

void convolve_row(const DeltaNetShape& shape, const float* conv, const float* qkv,
                  const DeltaNetSegment& segment, int64_t r, float* mixed) noexcept {
  const int64_t channels = shape.channels();
  const int width = shape.conv_width;
  float* out = mixed + (segment.row_begin + r) * channels;
  std::fill(out, out + channels, 0.0f);
  for (int tap = 0; tap < width; ++tap) {
    const float* x = input_before(shape, qkv, segment, r, width - 1 - tap);
    for (int64_t c = 0; c < channels; ++c) out[c] += conv[c * width + tap] * x[c];
  }
  for (int64_t c = 0; c < channels; ++c) out[c] = silu(out[c]);
}

void save_conv_state(const DeltaNetShape& shape, const float* qkv,
                     const DeltaNetSegment& segment) noexcept {
  const int64_t channels = shape.channels();
  for (int i = 0; i < shape.conv_width - 1; ++i) {
    const float* x = input_before(shape, qkv, segment, segment.rows, shape.conv_width - 1 - i);
    std::copy(x, x + channels, segment.conv_out + i * channels);
  }
}

void delta_rule_head(const DeltaNetShape& shape, const DeltaNetWeights& weights,
                     const DeltaNetInput& input, const float* mixed, const DeltaNetSegment& segment,
                     int head, float* out) noexcept {
  constexpr int kMaxDim = 512;  // ModelConfig refuses larger heads
  const int key_dim = shape.key_dim, value_dim = shape.value_dim;
  const int key_head = head / (shape.value_heads / shape.key_heads);
  const float query_scale = 1.0f / std::sqrt(static_cast<float>(key_dim));
  const int64_t state_offset = int64_t{head} * key_dim * value_dim;
  float* state = segment.state_out + state_offset;  // [key_dim, value_dim]
  if (segment.state_in != segment.state_out) {
    const float* from = segment.state_in + state_offset;
    std::copy(from, from + int64_t{key_dim} * value_dim, state);
  }

  float q[kMaxDim], k[kMaxDim], delta[kMaxDim], o[kMaxDim];
  for (int64_t row = segment.row_begin; row < segment.row_begin + segment.rows; ++row) {
    const float* x = mixed + row * shape.channels();
    l2_normalize(x + key_head * key_dim, key_dim, query_scale, q);
    l2_normalize(x + shape.key_width() + key_head * key_dim, key_dim, 1.0f, k);
    const float* v = x + 2 * shape.key_width() + head * value_dim;
    const int64_t gate_index = row * shape.value_heads + head;
    const float beta = sigmoid(input.beta[gate_index]);
    const float decay =
        std::exp(weights.decay[head] * softplus(input.dt[gate_index] + weights.dt_bias[head]));

    // S *= decay; delta = beta (v - Sᵀk); S += k deltaᵀ; o = Sᵀq
    std::fill(delta, delta + value_dim, 0.0f);
    for (int i = 0; i < key_dim; ++i) {
      float* s = state + int64_t{i} * value_dim;
      for (int j = 0; j < value_dim; ++j) {
        s[j] *= decay;
        delta[j] += s[j] * k[i];
      }
    }
    for (int j = 0; j < value_dim; ++j) delta[j] = beta * (v[j] - delta[j]);
    std::fill(o, o + value_dim, 0.0f);
    for (int i = 0; i < key_dim; ++i) {
      float* s = state + int64_t{i} * value_dim;
      for (int j = 0; j < value_dim; ++j) {
        s[j] += k[i] * delta[j];
        o[j] += s[j] * q[i];
      }
    }

    float* y = out + row * shape.value_width() + head * value_dim;
    const float* z = input.z + row * shape.value_width() + head * value_dim;
    rms_norm(o, weights.norm, value_dim, shape.norm_eps, y);
    for (int j = 0; j < value_dim; ++j) y[j] *= silu(z[j]);
  }
}

}  // namespace flashmoe::kernels::host
