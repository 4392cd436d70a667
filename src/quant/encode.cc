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
      uint64_t word = 0;  // eight codes, which fill `bits` bytes
      for (int j = 0; j < 8; ++j) {
        const float code = std::nearbyint((weights[begin + i + j] - bias) / scale);
        word |= static_cast<uint64_t>(std::clamp(code, 0.0f, max_code)) << (format.bits * j);
      }
      std::memcpy(codes, &word, static_cast<size_t>(format.bits));
      codes += format.bits;
    }
    store(format.dtype, scale, scales);
    store(format.dtype, bias, biases);
    scales += scale_size;
    biases += scale_size;
  }
}

}  // namespace flashmoe::quant
