#include "kernels/cpu/layout.h"

#include <algorithm>
#include <cstring>

#include "base/check.h"
#include "kernels/cpu/block_layout.h"
#include "kernels/cpu/layout_units.h"
#include "quant/blocks.h"
#include "quant/decode.h"

namespace flashmoe::kernels::cpu {

namespace {

using quant::DType;
using quant::Encoding;
using quant::Format;

constexpr uint32_t byte_mask(int width) { return 0x01010101u * ((1u << width) - 1); }

uint32_t load32(const std::byte* from) {
  uint32_t value;
  std::memcpy(&value, from, sizeof(value));
  return value;
}

// Bits [kShift, kShift + kWidth) of a unit's codes into one lane of their plane. quads[q] holds the
// codes of inputs 4q to 4q + 3, a byte each.
template <int kWidth, int kShift>
void put_plane(const uint32_t* quads, std::byte* plane, int lane) {
  constexpr int kFields = 8 / kWidth;
  for (int m = 0; m < kWidth; ++m) {
    uint32_t word = 0;
    for (int k = 0; k < kFields; ++k) {
      const uint32_t field = (quads[m * kFields + k] >> kShift) & byte_mask(kWidth);
      word |= field << (kWidth * k);
    }
    std::memcpy(plane + m * kVectorBytes + 4 * lane, &word, sizeof(word));
  }
}

template <int kWidth, int kShift>
void get_plane(const std::byte* plane, int lane, uint32_t* quads) {
  constexpr int kFields = 8 / kWidth;
  for (int m = 0; m < kWidth; ++m) {
    const uint32_t word = load32(plane + m * kVectorBytes + 4 * lane);
    for (int k = 0; k < kFields; ++k) {
      quads[m * kFields + k] |= ((word >> (kWidth * k)) & byte_mask(kWidth)) << kShift;
    }
  }
}

// The width of the first plane; the second takes the rest.
constexpr int wide_plane(int bits) { return bits == 8 ? 8 : bits >= 4 ? 4 : 2; }

template <int kBits>
void get_unit(const std::byte* unit, int lane, uint32_t* quads) {
  constexpr int kWide = wide_plane(kBits);
  get_plane<kWide, 0>(unit, lane, quads);
  if constexpr (kBits > kWide) {
    get_plane<kBits - kWide, kWide>(unit + kWide * kVectorBytes, lane, quads);
  }
}

// The codes of one row into its lane of a block.
template <int kBits>
void put_codes(const Format& format, int64_t cols, const std::byte* codes, std::byte* block,
               int lane) {
  constexpr int kWide = wide_plane(kBits);
  const AffineShape shape(format);
  for (int64_t begin = 0; begin < cols; begin += format.group, block += shape.group_bytes) {
    for (int u = 0; u < format.group / kUnit; ++u, codes += kUnit * kBits / 8) {
      std::byte* unit = block + static_cast<size_t>(u) * shape.unit_bytes;
      uint8_t unpacked[kUnit];
      uint32_t quads[kUnit / 4];
      quant::unpack_codes(kBits, kUnit, codes, unpacked);
      std::memcpy(quads, unpacked, sizeof(quads));
      put_plane<kWide, 0>(quads, unit, lane);
      if constexpr (kBits > kWide) {
        put_plane<kBits - kWide, kWide>(quads, unit + kWide * kVectorBytes, lane);
      }
    }
  }
}

void put_codes(const Format& format, int64_t cols, const std::byte* codes, std::byte* block,
               int lane) {
  switch (format.bits) {
    case 2:
      return put_codes<2>(format, cols, codes, block, lane);
    case 3:
      return put_codes<3>(format, cols, codes, block, lane);
    case 4:
      return put_codes<4>(format, cols, codes, block, lane);
    case 5:
      return put_codes<5>(format, cols, codes, block, lane);
    case 6:
      return put_codes<6>(format, cols, codes, block, lane);
    default:
      return put_codes<8>(format, cols, codes, block, lane);
  }
}

// One row's scales, or biases, into its lane of each group's vector; `to` is the first's.
template <size_t kSize>
void put_scales(const std::byte* scales, int64_t groups, size_t group_bytes, std::byte* to,
                int lane) {
  to += static_cast<size_t>(lane) * kSize;
  for (int64_t g = 0; g < groups; ++g, scales += kSize, to += group_bytes) {
    std::memcpy(to, scales, kSize);
  }
}

// How whole blocks are put together with the vectors of `isa`; null if one lane at a time.
BlockFunction block_function([[maybe_unused]] Isa isa) {
#if defined(__x86_64__)
  if (isa != Isa::kScalar) return put_block_avx2;
#elif defined(__aarch64__)
  if (isa != Isa::kScalar) return put_block_neon;
#endif
  return nullptr;
}

// `count` rows from `row` on into their block.
void prepare_affine(const FileMatrix& source, int64_t row, int count, Isa isa, std::byte* block) {
  const Format& format = source.format;
  const int64_t cols = source.cols;
  const AffineShape shape(format);
  const size_t code_stride = format.code_bytes(cols), scale_stride = format.scale_bytes(cols);
  const size_t first = static_cast<size_t>(row);
  const std::byte* codes = source.codes + first * code_stride;
  const std::byte* end = source.codes + static_cast<size_t>(source.rows) * code_stride;
  const BlockFunction put_block = count == kLanes ? block_function(isa) : nullptr;
  if (put_block != nullptr) put_block(format, cols, codes, code_stride, end, block);
  const auto put = dtype_bytes(format.dtype) == 2 ? put_scales<2> : put_scales<4>;
  for (int lane = 0; lane < count; ++lane) {
    const size_t r = static_cast<size_t>(lane);
    if (put_block == nullptr) put_codes(format, cols, codes + r * code_stride, block, lane);
    const size_t at = (first + r) * scale_stride;
    const int64_t groups = cols / format.group;
    put(source.scales + at, groups, shape.group_bytes, block + shape.scales_at, lane);
    put(source.biases + at, groups, shape.group_bytes, block + shape.biases_at, lane);
  }
}

// Where a plain row's input lies in its block, and the other way round.
size_t plain_offset(DType type, int64_t input, int lane) {
  switch (type) {
    case DType::kBf16:
      return static_cast<size_t>(input / 2 * kVectorBytes + lane * 4 + input % 2 * 2);
    case DType::kF16:
      return static_cast<size_t>((input * kLanes + lane) * 2);
    default:
      return static_cast<size_t>((input * kLanes + lane) * 4);
  }
}

// `count` rows from `row` on into their block, a few cache lines of a row at a time.
void prepare_plain(const FileMatrix& source, int64_t row, int count, std::byte* block) {
  constexpr int64_t kStretch = 256;  // inputs; even
  const DType type = source.format.dtype;
  const size_t size = dtype_bytes(type);
  for (int64_t begin = 0; begin < source.cols; begin += kStretch) {
    const int64_t n = std::min(kStretch, source.cols - begin);
    for (int lane = 0; lane < count; ++lane) {
      const std::byte* values =
          source.codes + static_cast<size_t>((row + lane) * source.cols + begin) * size;
      std::byte* to = block + plain_offset(type, begin, lane);
      if (type == DType::kBf16) {
        for (int64_t i = 0; i < n / 2; ++i) std::memcpy(to + i * kVectorBytes, values + 4 * i, 4);
        if (n % 2 != 0) std::memcpy(to + n / 2 * kVectorBytes, values + 2 * (n - 1), 2);
      } else if (type == DType::kF16) {
        for (int64_t i = 0; i < n; ++i) std::memcpy(to + i * kLanes * 2, values + 2 * i, 2);
      } else {
        for (int64_t i = 0; i < n; ++i) std::memcpy(to + i * kLanes * 4, values + 4 * i, 4);
      }
    }
  }
}

}  // namespace

bool has_layout(const Format& format) {
  if (format.encoding == Encoding::kBlocks) return true;
  if (format.dtype != DType::kF32 && format.dtype != DType::kF16 && format.dtype != DType::kBf16) {
    return false;
  }
  if (format.encoding == Encoding::kPlain) return true;
  const int bits = format.bits, group = format.group;
  return ((bits >= 2 && bits <= 6) || bits == 8) && (group == 32 || group == 64 || group == 128);
}

size_t block_bytes(const Format& format, int64_t cols) {
  CHECK(has_layout(format) && cols > 0);
  if (format.encoding == Encoding::kBlocks) {
    return block_layout(format.block).row_block_bytes(cols);
  }
  if (format.encoding == Encoding::kPlain) {
    return plain_offset(format.dtype, cols + cols % 2 * (format.dtype == DType::kBf16), 0);
  }
  CHECK(cols % format.group == 0);
  return static_cast<size_t>(cols / format.group) * AffineShape(format).group_bytes;
}

size_t prepared_bytes(const Format& format, int64_t rows, int64_t cols) {
  return static_cast<size_t>(row_blocks(rows)) * block_bytes(format, cols);
}

void prepare(const FileMatrix& source, int64_t row_begin, int64_t rows, std::byte* destination) {
  static const Isa isa = chosen_isa();
  prepare(source, row_begin, rows, destination, isa);
}

void prepare(const FileMatrix& source, int64_t row_begin, int64_t rows, std::byte* destination,
             Isa isa) {
  CHECK(row_begin % kLanes == 0 && row_begin + source.rows <= rows);
  CHECK(source.rows % kLanes == 0 || row_begin + source.rows == rows);
  CHECK(reinterpret_cast<uintptr_t>(destination) % kVectorBytes == 0);
  const size_t bytes = block_bytes(source.format, source.cols);
  std::byte* block = destination + static_cast<size_t>(row_begin / kLanes) * bytes;
  for (int64_t row = 0; row < source.rows; row += kLanes, block += bytes) {
    const int count = static_cast<int>(std::min(kLanes, source.rows - row));
    if (source.format.encoding == Encoding::kBlocks) {
      const size_t at = static_cast<size_t>(row) * source.format.code_bytes(source.cols);
      prepare_blocks(source.format.block, source.cols, source.codes + at, count, block);
      continue;
    }
    if (count < kLanes || source.cols % 2 != 0) std::memset(block, 0, bytes);
    if (source.format.encoding == Encoding::kAffine) {
      prepare_affine(source, row, count, isa, block);
    } else {
      prepare_plain(source, row, count, block);
    }
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
    quant::widen(type, 1, block + plain_offset(type, begin + i, lane), out + i);
  }
}

void decode_prepared_row(const Matrix& matrix, int64_t row, float* out) {
  const Format& format = matrix.format;
  const std::byte* block =
      matrix.data + static_cast<size_t>(row / kLanes) * block_bytes(format, matrix.cols);
  const int lane = static_cast<int>(row % kLanes);
  if (format.encoding == Encoding::kPlain) {
    return widen_lane(format.dtype, block, lane, 0, matrix.cols, out);
  }
  if (format.encoding == Encoding::kBlocks) {
    const int inputs = quant::block_info(format.block).inputs;
    std::byte bytes[kMostBlockBytes];
    for (int64_t b = 0; b < matrix.cols / inputs; ++b) {
      extract_block(format.block, block, lane, b, bytes);
      quant::decode_block(format.block, bytes, out + b * inputs);
    }
    return;
  }
  const AffineShape shape(format);
  const size_t at = static_cast<size_t>(lane) * quant::dtype_bytes(format.dtype);
  for (int64_t begin = 0; begin < matrix.cols; begin += format.group, block += shape.group_bytes) {
    float scale, bias;
    quant::widen(format.dtype, 1, block + shape.scales_at + at, &scale);
    quant::widen(format.dtype, 1, block + shape.biases_at + at, &bias);
    for (int u = 0; u < format.group / kUnit; ++u) {
      uint8_t codes[kUnit];
      unpack_unit(format.bits, block + u * shape.unit_bytes, lane, codes);
      float* to = out + begin + u * kUnit;
      for (int i = 0; i < kUnit; ++i) to[i] = static_cast<float>(codes[i]) * scale + bias;
    }
  }
}

}  // namespace flashmoe::kernels::cpu
