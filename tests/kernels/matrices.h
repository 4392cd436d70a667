// Random weight matrices as they lie in a file, for the tests of kernels.
#pragma once

#include <cstring>
#include <random>
#include <vector>

#include "base/aligned_buffer.h"
#include "base/half.h"
#include "kernels/cpu/layout.h"
#include "quant/arithmetic.h"
#include "quant/decode.h"

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
    }
  }
  for (quant::BlockType type : all_block_types()) {
    formats.push_back(quant::Format::of_blocks(type));
  }
  return formats;
}

// Column counts that a format may have, odd ones where it may.
inline std::vector<int64_t> some_cols(const quant::Format& format) {
  if (format.encoding == quant::Encoding::kPlain) return {1, 2, 7, 64, 65, 100, 131, 320};
  if (format.encoding == quant::Encoding::kBlocks) {
    const int64_t inputs = quant::block_info(format.block).inputs;
    return {inputs, 3 * inputs};
  }
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
    for (std::byte& b : codes_) b = static_cast<std::byte>(random());
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
    fill(scales_, rows * (cols / format.group), [&] { return normal(random) * 0.05f; });
    fill(biases_, rows * (cols / format.group), [&] { return normal(random); });
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
            part(biases_, format_.scale_bytes(cols_))};
  }

  Matrix prepared() {
    if (prepared_.data() == nullptr) {
      prepared_ = AlignedBuffer(cpu::prepared_bytes(format_, rows_, cols_));
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
  template <typename Operand>
  float truth(int64_t row, const Operand& x) const {
    if constexpr (std::is_same_v<Operand, quant::FloatRow>) {
      if (format_.encoding == quant::Encoding::kPlain) {
        return quant::dot(decoded(row).data(), cols_, x);
      }
    }
    const FileMatrix m = file_rows(row, 1);
    if (format_.encoding == quant::Encoding::kBlocks) {
      return quant::dot(format_.block, m.codes, cols_, x);
    }
    const int64_t groups = cols_ / format_.group;
    std::vector<uint8_t> codes(static_cast<size_t>(cols_));
    std::vector<float> scales(static_cast<size_t>(groups)), biases(static_cast<size_t>(groups));
    quant::unpack_codes(format_.bits, cols_, m.codes, codes.data());
    quant::widen(format_.dtype, groups, m.scales, scales.data());
    quant::widen(format_.dtype, groups, m.biases, biases.data());
    return quant::dot(quant::AffineRow{format_.group, codes.data(), scales.data(), biases.data()},
                      cols_, x);
  }

 private:
  template <typename Next>
  void fill(std::vector<std::byte>& out, int64_t n, Next next) {
    const size_t size = quant::dtype_bytes(format_.dtype);
    out.resize(1 + static_cast<size_t>(n) * size);
    for (int64_t i = 0; i < n; ++i) {
      const float value = next();
      std::byte* to = out.data() + 1 + static_cast<size_t>(i) * size;
      const Bf16 bf16 = to_bf16(value);
      const F16 f16 = to_f16(value);
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
