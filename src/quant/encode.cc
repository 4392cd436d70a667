#include "quant/encode.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "base/check.h"
#include "base/half.h"

namespace flashmoe::quant {

namespace {

void store(DType type, float value, std::byte* out) {
  switch (type) {
    case DType::kF32:
      std::memcpy(out, &value, sizeof(value));
      return;
    case DType::kF16: {
      const F16 half = to_f16(value);
      std::memcpy(out, &half, sizeof(half));
      return;
    }
    case DType::kBf16: {
      const Bf16 half = to_bf16(value);
      std::memcpy(out, &half, sizeof(half));
      return;
    }
    default:
      CHECK(!"a type of scales");
  }
}

// Eight codes, which fill `bits` bytes.
void store_codes(int bits, const float* chosen, std::byte* codes) {
  uint64_t word = 0;
  for (int j = 0; j < 8; ++j) word |= static_cast<uint64_t>(chosen[j]) << (bits * j);
  std::memcpy(codes, &word, static_cast<size_t>(bits));
}

struct Line {
  float scale, bias;
};

Line fit(const float* weights, int group, float max_code) {
  const auto [smallest, largest] = std::minmax_element(weights, weights + group);
  const bool low_edge = std::fabs(*smallest) > std::fabs(*largest);
  const float edge = low_edge ? *smallest : *largest;
  float scale = std::max((*largest - *smallest) / max_code, 1e-7f);
  if (!low_edge) scale = -scale;
  const float steps = std::nearbyint(edge / scale);
  if (steps == 0) return {scale, 0};
  return {edge / steps, edge};
}

}  // namespace

void encode_row(const Format& format, int64_t cols, const float* weights, std::byte* codes,
                std::byte* scales, std::byte* biases) {
  CHECK(format.encoding == Encoding::kAffine && cols % format.group == 0 && format.group % 8 == 0);
  const float max_code = static_cast<float>((1 << format.bits) - 1);
  const size_t scale_size = dtype_bytes(format.dtype);
  for (int64_t begin = 0; begin < cols; begin += format.group) {
    const auto [scale, bias] = fit(weights + begin, format.group, max_code);
    for (int i = 0; i < format.group; i += 8) {
      float chosen[8];
      for (int j = 0; j < 8; ++j) {
        chosen[j] =
            std::clamp(std::nearbyint((weights[begin + i + j] - bias) / scale), 0.0f, max_code);
      }
      store_codes(format.bits, chosen, codes);
      codes += format.bits;
    }
    store(format.dtype, scale, scales);
    store(format.dtype, bias, biases);
    scales += scale_size;
    biases += scale_size;
  }
}

void store_affine_row(const Format& format, int64_t cols, const float* chosen_codes,
                      const float* chosen_scales, const float* chosen_biases, std::byte* codes,
                      std::byte* scales, std::byte* biases) {
  CHECK(format.encoding == Encoding::kAffine && cols % format.group == 0 && format.group % 8 == 0);
  for (int64_t i = 0; i < cols; i += 8, codes += format.bits) {
    store_codes(format.bits, chosen_codes + i, codes);
  }
  const size_t scale_size = dtype_bytes(format.dtype);
  for (int64_t g = 0; g < cols / format.group; ++g, scales += scale_size, biases += scale_size) {
    store(format.dtype, chosen_scales[g], scales);
    store(format.dtype, chosen_biases[g], biases);
  }
}

}  // namespace flashmoe::quant
