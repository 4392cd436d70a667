// Operations on single rows in host memory: norms, activations, sums. Sums run in kLanes partial
// sums, added in order at the end, so that every compiler and vector width gives the same bits.
#pragma once

#include <cmath>
#include <cstdint>

namespace flashmoe::kernels::host {

constexpr int kLanes = 16;

inline float sum_lanes(const float* lanes) {
  float total = 0;
  for (int i = 0; i < kLanes; ++i) total += lanes[i];
  return total;
}

// a [n] · b [n].
inline float dot(const float* a, const float* b, int64_t n) {
  float lanes[kLanes] = {};
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) {
    for (int l = 0; l < kLanes; ++l) lanes[l] += a[i + l] * b[i + l];
  }
  for (int l = 0; i < n; ++i, ++l) lanes[l] += a[i] * b[i];
  return sum_lanes(lanes);
}

inline float sigmoid(float x) { return 1.0f / (1.0f + std::exp(-x)); }
inline float silu(float x) { return x / (1.0f + std::exp(-x)); }
// log(1 + exp(x)); linear above 20, as torch computes it.
inline float softplus(float x) { return x > 20.0f ? x : std::log1p(std::exp(x)); }

// out = x / sqrt(mean(x²) + eps) * weight. All [n]; out may be x.
inline void rms_norm(const float* x, const float* weight, int64_t n, float eps, float* out) {
  const float scale = 1.0f / std::sqrt(dot(x, x, n) / static_cast<float>(n) + eps);
  for (int64_t i = 0; i < n; ++i) out[i] = x[i] * scale * weight[i];
}

// x [n] += y [n].
inline void add(float* x, const float* y, int64_t n) {
  for (int64_t i = 0; i < n; ++i) x[i] += y[i];
}

// x [n] += factor * y [n].
inline void add_scaled(float* x, const float* y, float factor, int64_t n) {
  for (int64_t i = 0; i < n; ++i) x[i] += factor * y[i];
}

// gate [n] = silu(gate) * up [n].
inline void silu_multiply(float* gate, const float* up, int64_t n) {
  for (int64_t i = 0; i < n; ++i) gate[i] = silu(gate[i]) * up[i];
}

}  // namespace flashmoe::kernels::host
