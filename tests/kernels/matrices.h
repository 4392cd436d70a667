// Random weight matrices as they lie in a file, for the tests of kernels.
#pragma once

#include <bit>
#include <cstring>
#include <random>
#include <vector>

#include "base/aligned_buffer.h"
#include "base/half.h"
#include "kernels/cpu/layout.h"
#include "quant/arithmetic.h"
#include "quant/decode.h"
#include "quant/small_floats.h"

namespace flashmoe::kernels::testing {

inline std::vector<float> normals(int64_t n, unsigned seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal;
  std::vector<float> x(static_cast<size_t>(n));
  for (float& v : x) v = normal(random);
  return x;
}

// Every type of GGUF's blocks.
inline std::vector<quant::BlockType> all_block_types() {
  std::vector<quant::BlockType> types;
  for (uint32_t id = 0; id < 64; ++id) {
    if (const auto type = quant::block_type(id)) types.push_back(*type);
  }
  return types;
}

// Changes any bytes of a block so that its scales are finite and not huge.
inline void tame_block(quant::BlockType type, std::byte* bytes) {
  using quant::BlockType;
  const auto tame_half = [&](int at) { bytes[at + 1] &= std::byte{0xbf}; };  // below 2
  switch (type) {
    case BlockType::kNVFP4:
      return;
    case BlockType::kMXFP4:
      bytes[0] = (bytes[0] & std::byte{63}) | std::byte{64};
      return;
    case BlockType::kIQ1_M:
      return tame_half(54);
    case BlockType::kQ2_K:
      tame_half(80);
      return tame_half(82);
    case BlockType::kQ3_K:
    case BlockType::kQ6_K:
    case BlockType::kTQ1_0:
    case BlockType::kTQ2_0:
      return tame_half(quant::block_info(type).bytes - 2);
    case BlockType::kQ4_1:
    case BlockType::kQ5_1:
    case BlockType::kQ4_K:
    case BlockType::kQ5_K:
      tame_half(2);
      [[fallthrough]];
    default:
      return tame_half(0);
  }
}

// Every format with a compute layout.
inline std::vector<quant::Format> all_formats() {
  using quant::DType;
  std::vector<quant::Format> formats;
  for (DType type : {DType::kBf16, DType::kF16, DType::kF32}) {
    formats.push_back({quant::Encoding::kPlain, type, 0, 0});
    for (int bits : {2, 3, 4, 5, 6, 8}) {
      for (int group : {32, 64, 128})
        formats.push_back({quant::Encoding::kAffine, type, bits, group});
      quant::Format zero_points{quant::Encoding::kAffine, type, bits, 64};
      zero_points.zero_points = true;
      formats.push_back(zero_points);
    }
  }
  for (quant::BlockType type : all_block_types()) {
    formats.push_back(quant::Format::of_blocks(type));
  }
  const auto add_floats = [&](int bits, int group, std::initializer_list<DType> scales) {
    for (DType type : scales) formats.push_back({quant::Encoding::kFloats, type, bits, group});
  };
  add_floats(4, 16, {DType::kF8E4M3, DType::kF32});
  add_floats(4, 32, {DType::kF8E8M0});
  add_floats(8, 32, {DType::kF8E8M0});
  add_floats(8, 128, {DType::kF32, DType::kBf16, DType::kF16});
  return formats;
}

// Column counts that a format may have, odd ones where it may.
inline std::vector<int64_t> some_cols(const quant::Format& format) {
  if (format.encoding == quant::Encoding::kPlain) return {1, 2, 7, 64, 65, 100, 131, 320};
  if (format.encoding == quant::Encoding::kBlocks) {
    const int64_t inputs = quant::block_info(format.block).inputs;
    return {inputs, 3 * inputs};
  }
  if (format.encoding == quant::Encoding::kFloats && format.bits == 8) return {1, 31, 66, 131, 320};
  if (format.group == 16) return {16, 48, 96, 336};
  if (format.group == 32) return {32, 96, 320};
  return {format.group, 3 * format.group};
}

// A matrix in a file, at odd addresses.
class TestMatrix {
 public:
  TestMatrix(const quant::Format& format, int64_t rows, int64_t cols, unsigned seed)
      : format_(format), rows_(rows), cols_(cols) {
    std::mt19937 random(seed);
    std::normal_distribution<float> normal;
    if (format.encoding == quant::Encoding::kPlain) {
      fill(codes_, rows * cols, [&] { return normal(random); });
      return;
    }
    codes_.resize(1 + static_cast<size_t>(rows) * format.code_bytes(cols));
    for (std::byte& b : codes_) {
      do {
        b = static_cast<std::byte>(random());
      } while (format.encoding == quant::Encoding::kFloats && format.bits == 8 &&
               quant::is_e4m3_nan(static_cast<uint8_t>(b)));
    }
    if (format.encoding == quant::Encoding::kBlocks) {
      const quant::BlockInfo& info = quant::block_info(format.block);
      for (size_t at = 1; at < codes_.size(); at += static_cast<size_t>(info.bytes)) {
        // Some with all bits clear or set.
        const uint32_t kind = random() % 8;
        if (kind < 2) std::memset(codes_.data() + at, kind == 0 ? 0 : 0xff, info.bytes);
        tame_block(format.block, codes_.data() + at);
      }
      return;
    }
    const int64_t groups = rows * ((cols + format.group - 1) / format.group);
    fill(scales_, groups, [&] { return normal(random) * 0.05f; });
    if (format.bias_bytes(cols) == 0) return;
    fill(biases_, groups,
         [&] { return format.zero_points ? static_cast<float>(random() % 256) : normal(random); });
  }

  FileMatrix file() const { return file_rows(0, rows_); }
  // Rows [begin, begin + count).
  FileMatrix file_rows(int64_t begin, int64_t count) const {
    // Only affine formats have scales and biases.
    const auto part = [begin](const auto& bytes, size_t row_bytes) {
      return bytes.empty() ? nullptr : bytes.data() + 1 + static_cast<size_t>(begin) * row_bytes;
    };
    return {format_,
            count,
            cols_,
            part(codes_, format_.code_bytes(cols_)),
            part(scales_, format_.scale_bytes(cols_)),
            part(biases_, format_.bias_bytes(cols_))};
  }

  Matrix prepared() {
    if (prepared_.data() == nullptr) {
      prepared_ = AlignedBuffer(quant::interleaved_bytes(format_, rows_, cols_));
      cpu::prepare(file(), 0, rows_, prepared_.data());
    }
    return {format_, rows_, cols_, prepared_.data()};
  }

  std::vector<float> decoded(int64_t row) const {
    const FileMatrix m = file_rows(row, 1);
    std::vector<float> out(static_cast<size_t>(cols_));
    quant::decode_row(format_, cols_, m.codes, m.scales, m.biases, out.data());
    return out;
  }

  // What every kernel must give for one row.
  float truth(int64_t row, const float* x) const {
    if (format_.encoding == quant::Encoding::kPlain) {
      return quant::dot(decoded(row).data(), cols_, x);
    }
    return dot_floats<float>(row, x);
  }
  float truth(int64_t row, const quant::Int8Row& x) const {
    if (format_.encoding == quant::Encoding::kFloats) return dot_floats<int8_t>(row, x);
    const FileMatrix m = file_rows(row, 1);
    if (format_.encoding == quant::Encoding::kBlocks) {
      return quant::dot(format_.block, m.codes, cols_, x);
    }
    const int64_t groups = groups_of_row();
    const std::vector<float> scales = scales_of(m);
    std::vector<float> biases(scales.size());
    std::vector<uint8_t> codes(static_cast<size_t>(cols_));
    quant::unpack_codes(format_.bits, cols_, m.codes, codes.data());
    quant::widen(format_.dtype, groups, m.biases, biases.data());
    if (format_.zero_points) {
      for (int64_t g = 0; g < groups; ++g) biases[g] = -(biases[g] * scales[g]);
    }
    return quant::dot(quant::AffineRow{format_.group, codes.data(), scales.data(), biases.data()},
                      cols_, x);
  }

 private:
  int64_t groups_of_row() const { return (cols_ + format_.group - 1) / format_.group; }
  std::vector<float> scales_of(const FileMatrix& row) const {
    std::vector<float> scales(static_cast<size_t>(groups_of_row()));
    quant::widen(format_.dtype, groups_of_row(), row.scales, scales.data());
    return scales;
  }

  template <typename Code, typename Operand>
  float dot_floats(int64_t row, const Operand& x) const {
    const FileMatrix m = file_rows(row, 1);
    const float unit = quant::float_unit(format_.bits);
    std::vector<Code> codes(static_cast<size_t>(cols_));
    for (int64_t i = 0; i < cols_; ++i) {
      const uint8_t byte = static_cast<uint8_t>(m.codes[format_.bits == 4 ? i / 2 : i]);
      const float value = format_.bits == 8
                              ? quant::e4m3_to_float(byte)
                              : 0.5f * quant::kE2m1Doubled[i % 2 == 0 ? byte & 15 : byte >> 4];
      codes[i] = static_cast<Code>(value / unit);
    }
    std::vector<float> scales = scales_of(m);
    for (float& s : scales) s *= unit;
    return quant::dot(quant::FloatsRow<Code>{format_.group, codes.data(), scales.data()}, cols_, x);
  }

  template <typename Next>
  void fill(std::vector<std::byte>& out, int64_t n, Next next) {
    const size_t size = quant::dtype_bytes(format_.dtype);
    out.resize(1 + static_cast<size_t>(n) * size);
    for (int64_t i = 0; i < n; ++i) {
      const float value = next();
      std::byte* to = out.data() + 1 + static_cast<size_t>(i) * size;
      const Bf16 bf16 = to_bf16(value);
      const F16 f16 = to_f16(value);
      if (size == 1) {  // any scale but NaN, and powers of two near 1
        const uint32_t any = (std::bit_cast<uint32_t>(value) >> 8) % 127;
        *to = static_cast<std::byte>(format_.dtype == quant::DType::kF8E4M3 ? any : 110 + any % 32);
      }
      if (format_.dtype == quant::DType::kF32) std::memcpy(to, &value, 4);
      if (format_.dtype == quant::DType::kBf16) std::memcpy(to, &bf16, 2);
      if (format_.dtype == quant::DType::kF16) std::memcpy(to, &f16, 2);
    }
  }

  quant::Format format_;
  int64_t rows_, cols_;
  std::vector<std::byte> codes_, scales_, biases_;
  AlignedBuffer prepared_;
};

}  // namespace flashmoe::kernels::testing
