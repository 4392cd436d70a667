#include "kernels/host/attention.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "base/half.h"
#include "kernels/host/elementwise.h"

namespace flashmoe::kernels::host {

namespace {

constexpr int kMaxDim = 512;  // ModelConfig refuses larger heads

// Rotates the first 2 * half dims of x as pairs (x[i], x[i + half]) by position * inv_freq[i].
// The angle is rounded to float32 first, as transformers does.
void rotate(float* x, const float* inv_freq, int half, int64_t position) {
  for (int i = 0; i < half; ++i) {
    const float angle = static_cast<float>(position) * inv_freq[i];
    const float c = std::cos(angle), s = std::sin(angle);
    const float a = x[i], b = x[i + half];
    x[i] = a * c - b * s;
    x[i + half] = b * c + a * s;
  }
}

size_t element_bytes(KvType type) { return type == KvType::kF16 ? 2 : 4; }

// Where the vector of (keys or values, head, position) starts.
std::byte* vector_at(const AttentionShape& shape, const AttentionSegment& segment, bool values,
                     int head, int64_t position) {
  std::byte* page = segment.pages[static_cast<size_t>(position / kPageTokens)];
  const int64_t index =
      (int64_t{values ? shape.kv_heads : 0} + head) * kPageTokens + position % kPageTokens;
  return page + static_cast<size_t>(index * shape.head_dim) * element_bytes(shape.kv_type);
}

void store_vector(KvType type, const float* x, int n, std::byte* to) {
  if (type == KvType::kF32) {
    std::memcpy(to, x, static_cast<size_t>(n) * sizeof(float));
    return;
  }
  F16* half = reinterpret_cast<F16*>(to);
  for (int i = 0; i < n; ++i) half[i] = to_f16(x[i]);
}

// The stored vector as floats: where it lies, or converted into `buffer`.
const float* load_vector(KvType type, const std::byte* from, int n, float* buffer) {
  if (type == KvType::kF32) return reinterpret_cast<const float*>(from);
  const F16* half = reinterpret_cast<const F16*>(from);
  for (int i = 0; i < n; ++i) buffer[i] = to_float(half[i]);
  return buffer;
}

}  // namespace

void rotate_and_store_row(const AttentionShape& shape, const AttentionWeights& weights,
                          const AttentionInput& input, const AttentionSegment& segment,
                          int64_t r) noexcept {
  const int dim = shape.head_dim, half = shape.rotary_dim / 2;
  const int64_t row = segment.row_begin + r, position = segment.position + r;
  for (int h = 0; h < shape.heads; ++h) {
    float* q = input.q + row * shape.query_width() + h * dim;
    rms_norm(q, weights.q_norm, dim, shape.norm_eps, q);
    rotate(q, weights.inv_freq, half, position);
  }
  for (int h = 0; h < shape.kv_heads; ++h) {
    float* k = input.k + row * shape.kv_width() + h * dim;
    rms_norm(k, weights.k_norm, dim, shape.norm_eps, k);
    rotate(k, weights.inv_freq, half, position);
    store_vector(shape.kv_type, k, dim, vector_at(shape, segment, false, h, position));
    store_vector(shape.kv_type, input.v + row * shape.kv_width() + h * dim, dim,
                 vector_at(shape, segment, true, h, position));
  }
}

void attend(const AttentionShape& shape, const AttentionInput& input,
            const AttentionSegment& segment, int64_t r, int kv_head, float* out) noexcept {
  const int dim = shape.head_dim;
  const int group = shape.heads / shape.kv_heads;
  const int64_t row = segment.row_begin + r;
  const int64_t length = segment.position + r + 1;  // positions this row sees
  const float scale = 1.0f / std::sqrt(static_cast<float>(dim));
  const size_t vector_bytes = static_cast<size_t>(dim) * element_bytes(shape.kv_type);
  float converted[kMaxDim];

  for (int g = 0; g < group; ++g) {
    const int head = kv_head * group + g;
    const float* q = input.q + row * shape.query_width() + head * dim;
    float* y = out + row * shape.query_width() + head * dim;
    float highest = 0, total = 0;  // of the blocks merged so far
    std::fill(y, y + dim, 0.0f);
    for (int64_t begin = 0; begin < length; begin += kPageTokens) {
      const int n = static_cast<int>(std::min<int64_t>(kPageTokens, length - begin));
      const std::byte* keys = vector_at(shape, segment, false, kv_head, begin);
      const std::byte* values = vector_at(shape, segment, true, kv_head, begin);
      float score[kPageTokens], block_out[kMaxDim] = {};
      for (int t = 0; t < n; ++t) {
        score[t] = scale *
                   dot(q, load_vector(shape.kv_type, keys + t * vector_bytes, dim, converted), dim);
      }
      const float block_highest = *std::max_element(score, score + n);
      float block_total = 0;
      for (int t = 0; t < n; ++t) {
        const float p = std::exp(score[t] - block_highest);
        block_total += p;
        add_scaled(block_out, load_vector(shape.kv_type, values + t * vector_bytes, dim, converted),
                   p, dim);
      }
      // Merge the block into the running result, both rescaled to the larger maximum.
      const float merged = begin == 0 ? block_highest : std::max(highest, block_highest);
      const float keep = begin == 0 ? 0.0f : std::exp(highest - merged);
      const float take = std::exp(block_highest - merged);
      for (int i = 0; i < dim; ++i) y[i] = y[i] * keep + block_out[i] * take;
      total = total * keep + block_total * take;
      highest = merged;
    }
    const float inverse = 1.0f / total;
    const float* gate = input.gate ? input.gate + row * shape.query_width() + head * dim : nullptr;
    for (int i = 0; i < dim; ++i) y[i] *= gate ? inverse * sigmoid(gate[i]) : inverse;
  }
}

}  // namespace flashmoe::kernels::host
