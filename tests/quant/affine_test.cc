// Decoding and encoding of affine rows against mlx, to the bit (tools/golden_quant.py).
#include <gtest/gtest.h>

#include <cstring>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "quant/decode.h"
#include "quant/encode.h"

namespace flashmoe::quant {
namespace {

struct Case {
  Format format;
  int rows, cols;
  std::vector<float> weights;                    // [rows, cols], before quantisation
  std::vector<std::byte> codes, scales, biases;  // [rows, ...]
  std::vector<float> decoded;                    // [rows, cols]
};

class Reader {
 public:
  explicit Reader(const std::string& path) {
    std::ifstream file(path, std::ios::binary);
    data_.assign(std::istreambuf_iterator<char>(file), {});
  }
  bool done() const { return at_ == data_.size(); }
  std::vector<std::byte> bytes(size_t n) {
    std::vector<std::byte> out(n);
    std::memcpy(out.data(), data_.data() + at_, n);
    at_ += n;
    return out;
  }
  int number() {
    int32_t value;
    std::memcpy(&value, bytes(4).data(), 4);
    return value;
  }

 private:
  std::string data_;
  size_t at_ = 0;
};

std::vector<Case> golden_cases() {
  Reader in(FLASHMOE_SOURCE_DIR "/tests/golden/quant/affine.bin");
  constexpr DType kTypes[] = {DType::kF32, DType::kF16, DType::kBf16};
  std::vector<Case> cases;
  while (!in.done()) {
    const DType type = kTypes[in.number()];
    const int rows = in.number(), cols = in.number(), n = in.number();
    std::vector<float> weights(static_cast<size_t>(rows) * cols);
    widen(type, rows * cols, in.bytes(weights.size() * dtype_bytes(type)).data(), weights.data());
    for (int i = 0; i < n; ++i) {
      Case c{{Encoding::kAffine, type, 0, 0}, rows, cols, weights, {}, {}, {}, {}};
      c.format.bits = in.number();
      c.format.group = in.number();
      c.codes = in.bytes(rows * c.format.code_bytes(cols));
      c.scales = in.bytes(rows * c.format.scale_bytes(cols));
      c.biases = in.bytes(rows * c.format.scale_bytes(cols));
      c.decoded.resize(weights.size());
      widen(DType::kF32, rows * cols, in.bytes(weights.size() * 4).data(), c.decoded.data());
      cases.push_back(std::move(c));
    }
  }
  return cases;
}

TEST(Affine, GoldensAreThere) { EXPECT_EQ(golden_cases().size(), 3u * 6 * 3); }

TEST(Affine, DecodesAsNumpy) {
  for (const Case& c : golden_cases()) {
    SCOPED_TRACE(c.format.name() + " " + dtype_name(c.format.dtype));
    const size_t code_bytes = c.format.code_bytes(c.cols),
                 scale_bytes = c.format.scale_bytes(c.cols);
    for (int r = 0; r < c.rows; ++r) {
      // One byte off, as unaligned as files are.
      std::vector<std::byte> codes(1 + code_bytes), scales(1 + scale_bytes),
          biases(1 + scale_bytes);
      std::memcpy(codes.data() + 1, c.codes.data() + r * code_bytes, code_bytes);
      std::memcpy(scales.data() + 1, c.scales.data() + r * scale_bytes, scale_bytes);
      std::memcpy(biases.data() + 1, c.biases.data() + r * scale_bytes, scale_bytes);
      std::vector<float> out(c.cols);
      decode_row(c.format, c.cols, codes.data() + 1, scales.data() + 1, biases.data() + 1,
                 out.data());
      EXPECT_EQ(std::memcmp(out.data(), c.decoded.data() + r * c.cols, c.cols * sizeof(float)), 0)
          << "row " << r;
    }
  }
}

TEST(Affine, EncodesAsMlx) {
  for (const Case& c : golden_cases()) {
    SCOPED_TRACE(c.format.name() + " " + dtype_name(c.format.dtype));
    const size_t code_bytes = c.format.code_bytes(c.cols),
                 scale_bytes = c.format.scale_bytes(c.cols);
    for (int r = 0; r < c.rows; ++r) {
      std::vector<std::byte> codes(code_bytes), scales(scale_bytes), biases(scale_bytes);
      encode_row(c.format, c.cols, c.weights.data() + r * c.cols, codes.data(), scales.data(),
                 biases.data());
      EXPECT_EQ(std::memcmp(codes.data(), c.codes.data() + r * code_bytes, code_bytes), 0)
          << "codes of row " << r;
      EXPECT_EQ(std::memcmp(scales.data(), c.scales.data() + r * scale_bytes, scale_bytes), 0)
          << "scales of row " << r;
      EXPECT_EQ(std::memcmp(biases.data(), c.biases.data() + r * scale_bytes, scale_bytes), 0)
          << "biases of row " << r;
    }
  }
}

TEST(Affine, DecodesLongRowsAsShortOnes) {
  // Longer than what is unpacked at a time, and no multiple of it.
  for (int bits : {2, 3, 4, 5, 6, 8}) {
    for (int group : {32, 64, 128}) {
      const Format format{Encoding::kAffine, DType::kBf16, bits, group};
      const int64_t cols = 512 + 384 + (group < 128 ? group : 0);
      std::vector<std::byte> codes(format.code_bytes(cols)), scales(format.scale_bytes(cols)),
          biases(format.scale_bytes(cols));
      std::vector<float> weights(cols), all(cols), part(group);
      for (int64_t i = 0; i < cols; ++i)
        weights[i] = static_cast<float>((i * 2654435761u) % 997) / 500 - 1;
      encode_row(format, cols, weights.data(), codes.data(), scales.data(), biases.data());
      decode_row(format, cols, codes.data(), scales.data(), biases.data(), all.data());
      for (int64_t begin = 0; begin < cols; begin += group) {
        const size_t at = format.scale_bytes(begin);
        decode_row(format, group, codes.data() + format.code_bytes(begin), scales.data() + at,
                   biases.data() + at, part.data());
        EXPECT_EQ(std::memcmp(part.data(), all.data() + begin, group * sizeof(float)), 0);
      }
    }
  }
}

TEST(Plain, Widens) {
  const uint16_t bf16[] = {0x3f80, 0xc000}, f16[] = {0x3c00, 0x0001};
  float out[2];
  decode_row({Encoding::kPlain, DType::kBf16, 0, 0}, 2, reinterpret_cast<const std::byte*>(bf16),
             nullptr, nullptr, out);
  EXPECT_EQ(out[0], 1.0f);
  EXPECT_EQ(out[1], -2.0f);
  decode_row({Encoding::kPlain, DType::kF16, 0, 0}, 2, reinterpret_cast<const std::byte*>(f16),
             nullptr, nullptr, out);
  EXPECT_EQ(out[0], 1.0f);
  EXPECT_EQ(out[1], 0x1p-24f);
}

}  // namespace
}  // namespace flashmoe::quant
