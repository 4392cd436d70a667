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

constexpr int kMostInGroup = 128;

// Codes of a group, a byte each, to `bits` bits each. Of every eight, neighbours are moved together
// three times.
void store_codes(int bits, int count, const uint8_t* chosen, std::byte* codes) {
  constexpr uint64_t kUpper[] = {0xff00ff00ff00ff00, 0xffff0000ffff0000, 0xffffffff00000000};
  std::byte packed[kMostInGroup + sizeof(uint64_t)];
  std::byte* to = packed;
  for (int at = 0; at < count; at += 8, to += bits) {
    uint64_t word;
    std::memcpy(&word, chosen + at, sizeof(word));
    for (int i = 0; i < 3; ++i) {
      const uint64_t upper = word & kUpper[i];
      word = (word ^ upper) | upper >> ((8 - bits) << i);
    }
    std::memcpy(to, &word, sizeof(word));
  }
  std::memcpy(codes, packed, static_cast<size_t>(to - packed));
}

AffineLine fit(GroupLoops::Range range, float max_code) {
  const bool low_edge = std::fabs(range.low) > std::fabs(range.high);
  const float edge = low_edge ? range.low : range.high;
  float scale = std::max((range.high - range.low) / max_code, kLeastScale);
  if (!low_edge) scale = -scale;
  const float steps = std::nearbyint(edge / scale);
  if (steps == 0) return {scale, 0};
  return {edge / steps, edge};
}

}  // namespace

void encode_row(const Format& format, int64_t cols, const float* weights, std::byte* codes,
                std::byte* scales, std::byte* biases, const GroupLoops& loops) {
  CHECK(format.encoding == Encoding::kAffine && cols % format.group == 0 && format.group % 8 == 0 &&
        format.group <= kMostInGroup);
  const float max_code = static_cast<float>((1 << format.bits) - 1);
  const size_t scale_size = dtype_bytes(format.dtype);
  uint8_t chosen[kMostInGroup];
  for (int64_t begin = 0; begin < cols; begin += format.group) {
    const float* group = weights + begin;
    const AffineLine line = fit(loops.range(group, format.group), max_code);
    loops.divide(group, format.group, max_code, line, chosen);
    store_codes(format.bits, format.group, chosen, codes);
    codes += format.group / 8 * format.bits;
    store(format.dtype, line.scale, scales);
    store(format.dtype, line.bias, biases);
    scales += scale_size;
    biases += scale_size;
  }
}

void store_affine_row(const Format& format, int64_t cols, const float* chosen_codes,
                      const float* chosen_scales, const float* chosen_biases, std::byte* codes,
                      std::byte* scales, std::byte* biases) {
  CHECK(format.encoding == Encoding::kAffine && cols % format.group == 0 && format.group % 8 == 0 &&
        format.group <= kMostInGroup);
  for (int64_t begin = 0; begin < cols; begin += format.group) {
    uint8_t chosen[kMostInGroup];
    for (int i = 0; i < format.group; ++i) {
      chosen[i] = static_cast<uint8_t>(chosen_codes[begin + i]);
    }
    store_codes(format.bits, format.group, chosen, codes);
    codes += format.group / 8 * format.bits;
  }
  const size_t scale_size = dtype_bytes(format.dtype);
  for (int64_t g = 0; g < cols / format.group; ++g, scales += scale_size, biases += scale_size) {
    store(format.dtype, chosen_scales[g], scales);
    store(format.dtype, chosen_biases[g], biases);
  }
}

}  // namespace flashmoe::quant
