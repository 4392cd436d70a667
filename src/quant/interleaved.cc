#include "quant/interleaved.h"

#include <cstring>

#include "base/check.h"
#include "quant/decode.h"
#include "quant/interleaved_blocks.h"

namespace flashmoe::quant {

namespace {

constexpr uint32_t byte_mask(int width) { return 0x01010101u * ((1u << width) - 1); }

// Bits [kShift, kShift + kWidth) of a unit's codes from one lane of their plane. quads[q] holds the
// codes of inputs 4q to 4q + 3, a byte each.
template <int kWidth, int kShift>
void get_plane(const std::byte* plane, int lane, uint32_t* quads) {
  constexpr int kFields = 8 / kWidth;
  for (int m = 0; m < kWidth; ++m) {
    uint32_t word;
    std::memcpy(&word, plane + m * kVectorBytes + 4 * lane, sizeof(word));
    for (int k = 0; k < kFields; ++k) {
      quads[m * kFields + k] |= ((word >> (kWidth * k)) & byte_mask(kWidth)) << kShift;
    }
  }
}

template <int kBits>
void get_unit(const std::byte* unit, int lane, uint32_t* quads) {
  constexpr int kWide = wide_plane(kBits);
  get_plane<kWide, 0>(unit, lane, quads);
  if constexpr (kBits > kWide) {
    get_plane<kBits - kWide, kWide>(unit + kWide * kVectorBytes, lane, quads);
  }
}

bool is_wide_float(DType type) {
  return type == DType::kF32 || type == DType::kF16 || type == DType::kBf16;
}

void restore_affine(const Format& format, int64_t cols, const std::byte* block, int lane,
                    std::byte* codes, std::byte* scales, std::byte* biases) {
  const AffineShape shape(format);
  const size_t size = dtype_bytes(format.dtype);
  const size_t in_scales = static_cast<size_t>(lane) * size;
  const size_t unit_code_bytes = static_cast<size_t>(format.bits) * kUnit / 8;
  for (int64_t begin = 0; begin < cols; begin += format.group, block += shape.group_bytes) {
    for (int u = 0; u < format.group / kUnit; ++u, codes += unit_code_bytes) {
      uint8_t single[kUnit];
      unpack_unit(format.bits, block + static_cast<size_t>(u) * shape.unit_bytes, lane, single);
      pack_codes(format.bits, kUnit, single, codes);
    }
    std::memcpy(scales, block + shape.scales_at + in_scales, size);
    std::memcpy(biases, block + shape.biases_at + in_scales, size);
    scales += size;
    biases += size;
  }
}

}  // namespace

bool can_interleave(const Format& format) {
  const int bits = format.bits, group = format.group;
  switch (format.encoding) {
    case Encoding::kPlain:
      return is_wide_float(format.dtype);
    case Encoding::kAffine:
      return is_wide_float(format.dtype) && ((bits >= 2 && bits <= 6) || bits == 8) &&
             (group == 32 || group == 64 || group == 128);
    case Encoding::kFloats:
      return (is_wide_float(format.dtype) || format.dtype == DType::kF8E4M3 ||
              format.dtype == DType::kF8E8M0) &&
             (bits == 4 ? group == 16 || group == 32 : group == 32 || group == 128);
    case Encoding::kBlocks:
      return true;
  }
  return false;
}

bool can_restore(const Format& format) {
  return can_interleave(format) && format.encoding != Encoding::kFloats && !format.permuted;
}

size_t interleaved_block_bytes(const Format& format, int64_t cols) {
  CHECK(can_interleave(format) && cols > 0);
  switch (format.encoding) {
    case Encoding::kPlain:
      return plain_offset(format.dtype, cols + cols % 2 * (format.dtype == DType::kBf16), 0);
    case Encoding::kAffine:
      CHECK(cols % format.group == 0);
      return static_cast<size_t>(cols / format.group) * AffineShape(format).group_bytes;
    case Encoding::kFloats:
      CHECK(format.bits == 8 || cols % format.group == 0);
      return FloatsShape(format, cols).block_bytes;
    case Encoding::kBlocks:
      return block_layout(format.block).row_block_bytes(cols);
  }
  CHECK(!"an encoding");
}

size_t interleaved_bytes(const Format& format, int64_t rows, int64_t cols) {
  return static_cast<size_t>(row_blocks(rows)) * interleaved_block_bytes(format, cols);
}

size_t plain_offset(DType type, int64_t input, int lane) {
  switch (type) {
    case DType::kF8E4M3:
      return static_cast<size_t>(input * kLanes + lane);
    case DType::kBf16:
      return static_cast<size_t>(input / 2 * kVectorBytes + lane * 4 + input % 2 * 2);
    case DType::kF16:
      return static_cast<size_t>((input * kLanes + lane) * 2);
    default:
      return static_cast<size_t>((input * kLanes + lane) * 4);
  }
}

void unpack_unit(int bits, const std::byte* unit, int lane, uint8_t* codes) {
  uint32_t quads[8] = {};
  switch (bits) {
    case 2:
      get_unit<2>(unit, lane, quads);
      break;
    case 3:
      get_unit<3>(unit, lane, quads);
      break;
    case 4:
      get_unit<4>(unit, lane, quads);
      break;
    case 5:
      get_unit<5>(unit, lane, quads);
      break;
    case 6:
      get_unit<6>(unit, lane, quads);
      break;
    default:
      get_unit<8>(unit, lane, quads);
      break;
  }
  std::memcpy(codes, quads, sizeof(quads));
}

void widen_lane(DType type, const std::byte* block, int lane, int64_t begin, int64_t n,
                float* out) {
  for (int64_t i = 0; i < n; ++i) {
    widen(type, 1, block + plain_offset(type, begin + i, lane), out + i);
  }
}

void restore_rows(const Format& format, int64_t cols, const std::byte* interleaved, int64_t begin,
                  int64_t n, std::byte* codes, std::byte* scales, std::byte* biases) {
  CHECK(can_restore(format));
  const size_t block_bytes = interleaved_block_bytes(format, cols);
  for (int64_t row = begin; row < begin + n; ++row) {
    const std::byte* block = interleaved + static_cast<size_t>(row / kLanes) * block_bytes;
    const int lane = static_cast<int>(row % kLanes);
    if (format.encoding == Encoding::kAffine) {
      restore_affine(format, cols, block, lane, codes, scales, biases);
      scales += format.scale_bytes(cols);
      biases += format.bias_bytes(cols);
    } else if (format.encoding == Encoding::kBlocks) {
      const BlockLayout& layout = block_layout(format.block);
      for (int64_t b = 0; b < cols / layout.inputs; ++b) {
        extract_block(format.block, block, lane, b, codes + b * layout.file_bytes);
      }
    } else {
      const size_t size = dtype_bytes(format.dtype);
      for (int64_t i = 0; i < cols; ++i) {
        std::memcpy(codes + static_cast<size_t>(i) * size,
                    block + plain_offset(format.dtype, i, lane), size);
      }
    }
    codes += format.code_bytes(cols);
  }
}

}  // namespace flashmoe::quant
