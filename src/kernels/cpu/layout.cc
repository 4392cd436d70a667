#include "kernels/cpu/layout.h"

#include <algorithm>
#include <cstring>

#include "base/check.h"
#include "quant/decode.h"

namespace flashmoe::kernels::cpu {

namespace {

using quant::DType;
using quant::Encoding;
using quant::Format;

// Inputs of one row that are handled before the next row's: a few cache lines of the source, and a
// multiple of every group.
constexpr int64_t kStretch = 256;

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

// Eight codes of kBits bits, which fill kBits bytes, to a byte each: halves are moved apart,
// thrice.
template <int kBits>
uint64_t spread(const std::byte* codes) {
  uint64_t word = 0;
  std::memcpy(&word, codes, kBits);
  const auto part = [&](int bits, int distance, uint64_t low) {
    word = (word & low) | ((word << (distance - bits)) & (low << distance));
  };
  part(4 * kBits, 32, (uint64_t{1} << (4 * kBits)) - 1);
  part(2 * kBits, 16, 0x0000000100000001u * ((uint64_t{1} << (2 * kBits)) - 1));
  part(kBits, 8, 0x0001000100010001u * ((uint64_t{1} << kBits) - 1));
  return word;
}

// Exchanges the bits of `mask` with those `distance` above.
uint32_t swap_bits(uint32_t word, int distance, uint32_t mask) {
  const uint32_t changed = (word ^ (word >> distance)) & mask;
  return word ^ changed ^ (changed << distance);
}

// Where all codes lie in one plane, a file's dword becomes a lane by an exchange of its fields.
template <int kBits>
uint32_t exchange_fields(uint32_t word) {
  if constexpr (kBits == 4) return swap_bits(swap_bits(word, 8, 0x0000ff00), 4, 0x00f000f0);
  if constexpr (kBits == 2) return swap_bits(swap_bits(word, 12, 0x0000f0f0), 6, 0x00cc00cc);
  return word;
}

// The 32 codes at `codes` into one lane of a unit.
template <int kBits>
void put_unit(const std::byte* codes, std::byte* unit, int lane) {
  constexpr int kWide = wide_plane(kBits);
  if constexpr (kBits == kWide) {
    uint32_t words[kBits];
    std::memcpy(words, codes, sizeof(words));
    for (uint32_t& word : words) word = exchange_fields<kBits>(word);
    for (int m = 0; m < kBits; ++m) {
      std::memcpy(unit + m * kVectorBytes + 4 * lane, &words[m], sizeof(words[m]));
    }
  } else {
    uint32_t quads[8];
    for (int i = 0; i < 4; ++i) {
      const uint64_t eight = spread<kBits>(codes + i * kBits);
      std::memcpy(quads + 2 * i, &eight, sizeof(eight));
    }
    put_plane<kWide, 0>(quads, unit, lane);
    put_plane<kBits - kWide, kWide>(quads, unit + kWide * kVectorBytes, lane);
  }
}

template <size_t kSize>
void put_lane(const std::byte* value, std::byte* vector, int lane) {
  std::memcpy(vector + lane * kSize, value, kSize);
}

// Inputs [begin, begin + n) of `count` rows from `row` on into their block.
template <int kBits>
void prepare_affine(const FileMatrix& source, int64_t row, int count, int64_t begin, int64_t n,
                    std::byte* block) {
  const Format& format = source.format;
  const AffineShape shape(format);
  const size_t scale_size = quant::dtype_bytes(format.dtype);
  const size_t code_stride = format.code_bytes(source.cols);
  const size_t scale_stride = format.scale_bytes(source.cols);
  for (int lane = 0; lane < count; ++lane) {
    const size_t r = static_cast<size_t>(row + lane);
    const std::byte* codes = source.codes + r * code_stride + format.code_bytes(begin);
    const std::byte* scales = source.scales + r * scale_stride + format.scale_bytes(begin);
    const std::byte* biases = source.biases + r * scale_stride + format.scale_bytes(begin);
    std::byte* group = block + static_cast<size_t>(begin / format.group) * shape.group_bytes;
    for (int64_t g = 0; g < n / format.group; ++g, group += shape.group_bytes) {
      for (int u = 0; u < format.group / kUnit; ++u) {
        put_unit<kBits>(codes, group + u * shape.unit_bytes, lane);
        codes += 4 * kBits;
      }
      if (scale_size == 2) {
        put_lane<2>(scales + 2 * g, group + shape.scales_at, lane);
        put_lane<2>(biases + 2 * g, group + shape.biases_at, lane);
      } else {
        put_lane<4>(scales + 4 * g, group + shape.scales_at, lane);
        put_lane<4>(biases + 4 * g, group + shape.biases_at, lane);
      }
    }
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

void prepare_plain(const FileMatrix& source, int64_t row, int count, int64_t begin, int64_t n,
                   std::byte* block) {
  const DType type = source.format.dtype;
  const size_t size = quant::dtype_bytes(type);
  for (int lane = 0; lane < count; ++lane) {
    const std::byte* values =
        source.codes + (static_cast<size_t>(row + lane) * source.cols + begin) * size;
    std::byte* to = block + plain_offset(type, begin, lane);
    if (type == DType::kBf16) {  // begin is even
      for (int64_t i = 0; i + 1 < n; i += 2)
        std::memcpy(to + i / 2 * kVectorBytes, values + 2 * i, 4);
      if (n % 2 != 0) std::memcpy(to + n / 2 * kVectorBytes, values + 2 * (n - 1), 2);
    } else if (type == DType::kF16) {
      for (int64_t i = 0; i < n; ++i) std::memcpy(to + i * kLanes * 2, values + 2 * i, 2);
    } else {
      for (int64_t i = 0; i < n; ++i) std::memcpy(to + i * kLanes * 4, values + 4 * i, 4);
    }
  }
}

using PreparePart = void (*)(const FileMatrix&, int64_t, int, int64_t, int64_t, std::byte*);

PreparePart part_of(const Format& format) {
  if (format.encoding == Encoding::kPlain) return prepare_plain;
  switch (format.bits) {
    case 2:
      return prepare_affine<2>;
    case 3:
      return prepare_affine<3>;
    case 4:
      return prepare_affine<4>;
    case 5:
      return prepare_affine<5>;
    case 6:
      return prepare_affine<6>;
    default:
      return prepare_affine<8>;
  }
}

}  // namespace

bool has_layout(const Format& format) {
  if (format.dtype != DType::kF32 && format.dtype != DType::kF16 && format.dtype != DType::kBf16) {
    return false;
  }
  if (format.encoding == Encoding::kPlain) return true;
  const int bits = format.bits, group = format.group;
  return ((bits >= 2 && bits <= 6) || bits == 8) && (group == 32 || group == 64 || group == 128);
}

size_t block_bytes(const Format& format, int64_t cols) {
  CHECK(has_layout(format) && cols > 0);
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
  CHECK(row_begin % kLanes == 0 && row_begin + source.rows <= rows);
  CHECK(source.rows % kLanes == 0 || row_begin + source.rows == rows);
  const size_t bytes = block_bytes(source.format, source.cols);
  const PreparePart prepare_part = part_of(source.format);
  std::byte* block = destination + static_cast<size_t>(row_begin / kLanes) * bytes;
  for (int64_t row = 0; row < source.rows; row += kLanes, block += bytes) {
    const int count = static_cast<int>(std::min(kLanes, source.rows - row));
    if (count < kLanes || source.cols % 2 != 0) std::memset(block, 0, bytes);
    for (int64_t begin = 0; begin < source.cols; begin += kStretch) {
      prepare_part(source, row, count, begin, std::min(kStretch, source.cols - begin), block);
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
