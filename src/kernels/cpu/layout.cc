#include "kernels/cpu/layout.h"

#include <algorithm>
#include <cstring>

#include "base/check.h"
#include "kernels/cpu/layout_units.h"
#include "quant/blocks.h"
#include "quant/decode.h"
#include "quant/interleaved_blocks.h"
#include "quant/small_floats.h"

namespace flashmoe::kernels::cpu {

namespace {

using quant::DType;
using quant::Encoding;
using quant::Format;

constexpr uint32_t byte_mask(int width) { return 0x01010101u * ((1u << width) - 1); }

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

// The codes of one row into its lane of a block.
template <int kBits>
void put_codes(const UnitPlaces& places, const std::byte* codes, std::byte* block, int lane) {
  constexpr int kWide = quant::wide_plane(kBits);
  for (int64_t first = 0; first < places.units;
       first += places.group_units, block += places.group_bytes) {
    for (int64_t u = 0; u < places.group_units; ++u, codes += kUnit * kBits / 8) {
      std::byte* unit = block + static_cast<size_t>(u) * kBits * kVectorBytes;
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

void put_codes(const UnitPlaces& places, const std::byte* codes, std::byte* block, int lane) {
  switch (places.bits) {
    case 2:
      return put_codes<2>(places, codes, block, lane);
    case 3:
      return put_codes<3>(places, codes, block, lane);
    case 4:
      return put_codes<4>(places, codes, block, lane);
    case 5:
      return put_codes<5>(places, codes, block, lane);
    case 6:
      return put_codes<6>(places, codes, block, lane);
    default:
      return put_codes<8>(places, codes, block, lane);
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

using PutScales = void (*)(const std::byte*, int64_t, size_t, std::byte*, int);
PutScales put_scales_of(DType type) {
  const size_t size = dtype_bytes(type);
  return size == 1 ? put_scales<1> : size == 2 ? put_scales<2> : put_scales<4>;
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
  const UnitPlaces places{format.bits, cols / kUnit, format.group / kUnit, shape.group_bytes};
  if (put_block != nullptr) put_block(places, codes, code_stride, end, block);
  const PutScales put = put_scales_of(format.dtype);
  for (int lane = 0; lane < count; ++lane) {
    const size_t r = static_cast<size_t>(lane);
    if (put_block == nullptr) put_codes(places, codes + r * code_stride, block, lane);
    const size_t at = (first + r) * scale_stride;
    const int64_t groups = cols / format.group;
    put(source.scales + at, groups, shape.group_bytes, block + shape.scales_at, lane);
    put(source.biases + at, groups, shape.group_bytes, block + shape.biases_at, lane);
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
      std::byte* to = block + quant::plain_offset(type, begin, lane);
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

// `count` rows of e2m1 codes from `row` on into their block.
void prepare_e2m1(const FileMatrix& source, int64_t row, int count, Isa isa, std::byte* block) {
  const int64_t units = source.cols / kUnit, rest = source.cols % kUnit;
  const UnitPlaces places{4, units, 1, 4 * kVectorBytes};
  const UnitPlaces last{4, 1, 1, 4 * kVectorBytes};
  const size_t stride = source.format.code_bytes(source.cols);
  const std::byte* codes = source.codes + static_cast<size_t>(row) * stride;
  const std::byte* end = source.codes + static_cast<size_t>(source.rows) * stride;
  const BlockFunction put_block = count == kLanes ? block_function(isa) : nullptr;
  if (put_block != nullptr) put_block(places, codes, stride, end, block);
  for (int lane = 0; lane < count; ++lane, codes += stride) {
    if (put_block == nullptr) put_codes(places, codes, block, lane);
    if (rest > 0) {
      std::byte filled[kUnit / 2] = {};
      std::memcpy(filled, codes + units * kUnit / 2, static_cast<size_t>(rest / 2));
      put_codes(last, filled, block + static_cast<size_t>(units) * places.group_bytes, lane);
    }
  }
}

// `count` rows of e4m3 codes from `row` on into their block.
void prepare_e4m3(const FileMatrix& source, int64_t row, int count, std::byte* block) {
  constexpr int64_t kStretch = 64;  // inputs
  const std::byte* codes = source.codes + static_cast<size_t>(row * source.cols);
  for (int64_t begin = 0; begin < source.cols; begin += kStretch) {
    const int64_t n = std::min(kStretch, source.cols - begin);
    for (int lane = 0; lane < count; ++lane) {
      const std::byte* from = codes + lane * source.cols + begin;
      std::byte* to = block + quant::plain_offset(DType::kF8E4M3, begin, lane);
      for (int64_t i = 0; i < n; ++i) to[i * kLanes] = from[i];
    }
  }
}

bool holds_nan(const std::byte* codes, int64_t n) {
  bool found = false;
  for (int64_t i = 0; i < n; ++i) found |= quant::is_e4m3_nan(static_cast<uint8_t>(codes[i]));
  return found;
}

// Products do without NaN among the codes: the group's scale says it.
void spread_nan(const FileMatrix& source, int64_t row, int lane, std::byte* scales,
                size_t scale_bytes) {
  const Format& format = source.format;
  const std::byte* codes = source.codes + static_cast<size_t>(row * source.cols);
  for (int64_t begin = 0; begin < source.cols; begin += format.group, scales += scale_bytes) {
    if (!holds_nan(codes + begin, std::min<int64_t>(format.group, source.cols - begin))) continue;
    const size_t size = dtype_bytes(format.dtype);  // all ones is NaN in every type
    std::memset(scales + static_cast<size_t>(lane) * size, 0xff, size);
  }
}

void prepare_floats(const FileMatrix& source, int64_t row, int count, Isa isa, std::byte* block) {
  const Format& format = source.format;
  const FloatsShape shape(format, source.cols);
  if (format.bits == 4) {
    prepare_e2m1(source, row, count, isa, block);
  } else {
    prepare_e4m3(source, row, count, block);
  }
  const size_t stride = format.scale_bytes(source.cols);
  const int64_t groups = static_cast<int64_t>(stride / dtype_bytes(format.dtype));
  const PutScales put = put_scales_of(format.dtype);
  for (int lane = 0; lane < count; ++lane) {
    put(source.scales + static_cast<size_t>(row + lane) * stride, groups, shape.scale_bytes,
        block + shape.scales_at, lane);
    if (format.bits == 8) {
      spread_nan(source, row + lane, lane, block + shape.scales_at, shape.scale_bytes);
    }
  }
}

}  // namespace

void prepare(const FileMatrix& source, int64_t row_begin, int64_t rows, std::byte* destination) {
  static const Isa isa = chosen_isa();
  prepare(source, row_begin, rows, destination, isa);
}

void prepare(const FileMatrix& source, int64_t row_begin, int64_t rows, std::byte* destination,
             Isa isa) {
  CHECK(row_begin % kLanes == 0 && row_begin + source.rows <= rows);
  CHECK(source.rows % kLanes == 0 || row_begin + source.rows == rows);
  CHECK(reinterpret_cast<uintptr_t>(destination) % kVectorBytes == 0);
  const size_t bytes = quant::interleaved_block_bytes(source.format, source.cols);
  std::byte* block = destination + static_cast<size_t>(row_begin / kLanes) * bytes;
  for (int64_t row = 0; row < source.rows; row += kLanes, block += bytes) {
    const int count = static_cast<int>(std::min(kLanes, source.rows - row));
    if (source.format.encoding == Encoding::kBlocks) {
      const size_t at = static_cast<size_t>(row) * source.format.code_bytes(source.cols);
      quant::prepare_blocks(source.format.block, source.cols, source.codes + at, count, block);
      continue;
    }
    // Lanes without a row, and what fills up the last inputs or the block, are zero.
    const bool whole =
        source.format.encoding == Encoding::kFloats ? source.cols % 512 == 0 : source.cols % 2 == 0;
    if (count < kLanes || !whole) std::memset(block, 0, bytes);
    switch (source.format.encoding) {
      case Encoding::kPlain:
        prepare_plain(source, row, count, block);
        break;
      case Encoding::kAffine:
        prepare_affine(source, row, count, isa, block);
        break;
      case Encoding::kFloats:
        prepare_floats(source, row, count, isa, block);
        break;
      case Encoding::kBlocks:
        break;
    }
  }
}

namespace {

void decode_affine(const Matrix& matrix, const std::byte* block, int lane, float* out) {
  const Format& format = matrix.format;
  const AffineShape shape(format);
  for (int64_t begin = 0; begin < matrix.cols; begin += format.group, block += shape.group_bytes) {
    const auto [scale, bias] = scale_and_bias(format, block, lane);
    for (int u = 0; u < format.group / kUnit; ++u) {
      uint8_t codes[kUnit];
      quant::unpack_unit(format.bits, block + u * shape.unit_bytes, lane, codes);
      float* to = out + begin + u * kUnit;
      for (int i = 0; i < kUnit; ++i) to[i] = static_cast<float>(codes[i]) * scale + bias;
    }
  }
}

void decode_blocks(const Matrix& matrix, const std::byte* block, int lane, float* out) {
  const quant::BlockType type = matrix.format.block;
  const int inputs = quant::block_info(type).inputs;
  std::byte bytes[quant::kMostBlockBytes];
  for (int64_t b = 0; b < matrix.cols / inputs; ++b) {
    quant::extract_block(type, block, lane, b, bytes);
    quant::decode_block(type, bytes, out + b * inputs);
  }
}

void decode_floats(const Matrix& matrix, const std::byte* block, int lane, float* out) {
  const Format& format = matrix.format;
  for (int64_t begin = 0; begin < matrix.cols; begin += kUnit) {
    const int64_t n = std::min(kUnit, matrix.cols - begin);
    if (format.bits == 8) {
      quant::widen_lane(DType::kF8E4M3, block, lane, begin, n, out + begin);
      continue;
    }
    uint8_t codes[kUnit];
    quant::unpack_unit(4, block + begin / kUnit * 4 * kVectorBytes, lane, codes);
    for (int64_t i = 0; i < n; ++i) out[begin + i] = 0.5f * quant::kE2m1Doubled[codes[i]];
  }
  for (int64_t i = 0; i < matrix.cols; ++i) {
    out[i] *= float_scale(format, matrix.cols, block, lane, i / format.group);
  }
}

}  // namespace

Line scale_and_bias(const Format& format, const std::byte* group, int lane) {
  const AffineShape shape(format);
  const size_t at = static_cast<size_t>(lane) * quant::dtype_bytes(format.dtype);
  Line line;
  quant::widen(format.dtype, 1, group + shape.scales_at + at, &line.scale);
  quant::widen(format.dtype, 1, group + shape.biases_at + at, &line.bias);
  if (format.zero_points) line.bias = -(line.bias * line.scale);
  return line;
}

float float_scale(const Format& format, int64_t cols, const std::byte* block, int lane,
                  int64_t group) {
  const FloatsShape shape(format, cols);
  float scale;
  quant::widen(format.dtype, 1,
               block + shape.scales_at + static_cast<size_t>(group) * shape.scale_bytes +
                   static_cast<size_t>(lane) * quant::dtype_bytes(format.dtype),
               &scale);
  return scale;
}

void decode_prepared_row(const Matrix& matrix, int64_t row, float* out) {
  const std::byte* block =
      matrix.data + static_cast<size_t>(row / kLanes) *
                        quant::interleaved_block_bytes(matrix.format, matrix.cols);
  const int lane = static_cast<int>(row % kLanes);
  switch (matrix.format.encoding) {
    case Encoding::kPlain:
      return quant::widen_lane(matrix.format.dtype, block, lane, 0, matrix.cols, out);
    case Encoding::kAffine:
      return decode_affine(matrix, block, lane, out);
    case Encoding::kFloats:
      return decode_floats(matrix, block, lane, out);
    case Encoding::kBlocks:
      return decode_blocks(matrix, block, lane, out);
  }
}

}  // namespace flashmoe::kernels::cpu
