#include "quant/decode.h"

#include <algorithm>
#include <bit>
#include <cstring>

#include "base/check.h"
#include "base/half.h"
#include "quant/blocks.h"
#include "quant/small_floats.h"

namespace flashmoe::quant {

namespace {

static_assert(std::endian::native == std::endian::little);

template <typename T>
void widen_values(int64_t n, const std::byte* values, float* out) {
  for (int64_t i = 0; i < n; ++i) {
    T value;
    std::memcpy(&value, values + i * sizeof(T), sizeof(T));
    out[i] = to_float(value);
  }
}

// Eight codes fill kBits bytes, whatever the width.
template <int kBits>
void unpack(int64_t n, const std::byte* codes, uint8_t* out) {
  constexpr uint64_t kMask = (1u << kBits) - 1;
  for (int64_t i = 0; i < n; i += 8, codes += kBits) {
    uint64_t word = 0;
    std::memcpy(&word, codes, kBits);
    for (int j = 0; j < 8; ++j) out[i + j] = static_cast<uint8_t>((word >> (kBits * j)) & kMask);
  }
}

template <float (*kToFloat)(uint8_t)>
void widen_bytes(int64_t n, const std::byte* values, float* out) {
  for (int64_t i = 0; i < n; ++i) out[i] = kToFloat(static_cast<uint8_t>(values[i]));
}

constexpr int64_t kBatch = 512;  // inputs decoded at a time: a multiple of every group

void decode_affine(const Format& format, int64_t cols, const std::byte* codes,
                   const std::byte* scales, const std::byte* biases, float* out) {
  CHECK(format.group > 0 && format.group % 32 == 0 && cols % format.group == 0);
  CHECK(kBatch % format.group == 0);
  uint8_t batch[kBatch];
  float scale[kBatch / 32], bias[kBatch / 32];
  for (int64_t begin = 0; begin < cols; begin += kBatch) {
    const int64_t n = std::min(kBatch, cols - begin), groups = n / format.group;
    unpack_codes(format.bits, n, codes + format.code_bytes(begin), batch);
    const size_t at = format.scale_bytes(begin);
    widen(format.dtype, groups, scales + at, scale);
    widen(format.dtype, groups, biases + at, bias);
    for (int64_t g = 0; g < groups; ++g) {
      if (format.zero_points) bias[g] = -(bias[g] * scale[g]);
      const uint8_t* q = batch + g * format.group;
      float* w = out + begin + g * format.group;
      for (int i = 0; i < format.group; ++i) w[i] = static_cast<float>(q[i]) * scale[g] + bias[g];
    }
  }
}

void decode_floats(const Format& format, int64_t cols, const std::byte* codes,
                   const std::byte* scales, float* out) {
  for (int64_t i = 0; i < cols; ++i) {
    if (format.bits == 8) {
      out[i] = e4m3_to_float(static_cast<uint8_t>(codes[i]));
    } else {
      const int pair = static_cast<int>(codes[i / 2]);
      out[i] = 0.5f * kE2m1Doubled[i % 2 == 0 ? pair & 15 : pair >> 4];
    }
  }
  for (int64_t begin = 0; begin < cols; begin += format.group) {
    float scale;
    widen(format.dtype, 1, scales + format.scale_bytes(begin), &scale);
    for (int64_t i = begin; i < std::min(cols, begin + format.group); ++i) out[i] *= scale;
  }
}

}  // namespace

void widen(DType type, int64_t n, const std::byte* values, float* out) {
  switch (type) {
    case DType::kF32:
      std::memcpy(out, values, static_cast<size_t>(n) * sizeof(float));
      return;
    case DType::kF16:
      widen_values<F16>(n, values, out);
      return;
    case DType::kBf16:
      widen_values<Bf16>(n, values, out);
      return;
    case DType::kF8E4M3:
      widen_bytes<e4m3_to_float>(n, values, out);
      return;
    case DType::kF8E8M0:
      widen_bytes<e8m0_to_float>(n, values, out);
      return;
    default:
      CHECK(!"a weight's type");
  }
}

void unpack_codes(int bits, int64_t n, const std::byte* codes, uint8_t* out) {
  CHECK(n % 8 == 0);
  switch (bits) {
    case 2:
      unpack<2>(n, codes, out);
      return;
    case 3:
      unpack<3>(n, codes, out);
      return;
    case 4:
      unpack<4>(n, codes, out);
      return;
    case 5:
      unpack<5>(n, codes, out);
      return;
    case 6:
      unpack<6>(n, codes, out);
      return;
    case 8:
      std::memcpy(out, codes, static_cast<size_t>(n));
      return;
    default:
      CHECK(!"a width of codes");
  }
}

void pack_codes(int bits, int64_t n, const uint8_t* codes, std::byte* out) {
  CHECK(n % 8 == 0);
  for (int64_t i = 0; i < n; i += 8, out += bits) {
    uint64_t word = 0;
    for (int j = 0; j < 8; ++j) word |= uint64_t{codes[i + j]} << (bits * j);
    std::memcpy(out, &word, static_cast<size_t>(bits));
  }
}

void decode_row(const Format& format, int64_t cols, const std::byte* codes, const std::byte* scales,
                const std::byte* biases, float* out) {
  switch (format.encoding) {
    case Encoding::kPlain:
      return widen(format.dtype, cols, codes, out);
    case Encoding::kAffine:
      return decode_affine(format, cols, codes, scales, biases, out);
    case Encoding::kFloats:
      return decode_floats(format, cols, codes, scales, out);
    case Encoding::kBlocks: {
      const BlockInfo& info = block_info(format.block);
      CHECK(cols % info.inputs == 0);
      for (int64_t i = 0; i < cols; i += info.inputs, codes += info.bytes) {
        decode_block(format.block, codes, out + i);
      }
      return;
    }
  }
}

}  // namespace flashmoe::quant
