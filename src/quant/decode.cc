#include "quant/decode.h"

#include <algorithm>
#include <bit>
#include <cstring>

#include "base/check.h"
#include "base/half.h"
#include "quant/blocks.h"

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

void decode_row(const Format& format, int64_t cols, const std::byte* codes, const std::byte* scales,
                const std::byte* biases, float* out) {
  if (format.encoding == Encoding::kPlain) return widen(format.dtype, cols, codes, out);
  if (format.encoding == Encoding::kBlocks) {
    const BlockInfo& info = block_info(format.block);
    CHECK(cols % info.inputs == 0);
    for (int64_t i = 0; i < cols; i += info.inputs, codes += info.bytes) {
      decode_block(format.block, codes, out + i);
    }
    return;
  }
  CHECK(format.group > 0 && format.group % 32 == 0 && cols % format.group == 0);
  constexpr int64_t kBatch = 512;  // inputs unpacked at a time: a multiple of every group
  CHECK(kBatch % format.group == 0);
  uint8_t batch[kBatch];
  float scale[kBatch / 32], bias[kBatch / 32];
  for (int64_t begin = 0; begin < cols; begin += kBatch) {
    const int64_t n = std::min(kBatch, cols - begin);
    unpack_codes(format.bits, n, codes + format.code_bytes(begin), batch);
    const size_t at = format.scale_bytes(begin);
    widen(format.dtype, n / format.group, scales + at, scale);
    widen(format.dtype, n / format.group, biases + at, bias);
    for (int64_t g = 0; g < n / format.group; ++g) {
      const uint8_t* q = batch + g * format.group;
      float* w = out + begin + g * format.group;
      for (int i = 0; i < format.group; ++i) w[i] = static_cast<float>(q[i]) * scale[g] + bias[g];
    }
  }
}

}  // namespace flashmoe::quant
