// Other tools' byte layouts, put together here code by code from their definitions, against rows.
#include "quant/storage.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <numeric>
#include <random>
#include <vector>

#include "base/half.h"
#include "quant/decode.h"
#include "quant/small_floats.h"

namespace flashmoe::quant {
namespace {

// Words filled bit by bit.
class Bits {
 public:
  explicit Bits(size_t words) : bytes_(words * 4) {}
  void put(int64_t bit, int width, uint32_t value) {
    for (int b = 0; b < width; ++b, ++bit) {
      if ((value >> b & 1) != 0) bytes_[bit / 8] |= std::byte{1} << bit % 8;
    }
  }
  const std::byte* data() const { return bytes_.data(); }

 private:
  std::vector<std::byte> bytes_;
};

struct Quantised {
  int64_t rows = 32, cols = 192;
  int64_t group = 64;
  int bits = 4;
  std::vector<uint32_t> codes, zeros;  // [rows, cols], [rows, groups]
  std::vector<F16> scales;             // [rows, groups]

  int64_t groups() const { return (cols + group - 1) / group; }

  Quantised(int width, int64_t inputs_of_group) : group(inputs_of_group), bits(width) {
    std::mt19937 random(static_cast<unsigned>(width));
    const uint32_t mask = (1u << bits) - 1;
    for (int64_t i = 0; i < rows * cols; ++i) codes.push_back(random() & mask);
    for (int64_t i = 0; i < rows * groups(); ++i) {
      zeros.push_back(random() & mask);
      scales.push_back(to_f16(0.01f + static_cast<float>(random() % 1000) / 777));
    }
  }

  float weight(int64_t row, int64_t input, int64_t of_group) const {
    const size_t at = static_cast<size_t>(row * groups() + of_group);
    const float q = static_cast<float>(codes[static_cast<size_t>(row * cols + input)]);
    return (q - static_cast<float>(zeros[at])) * to_float(scales[at]);
  }

  Format format() const {
    Format f{Encoding::kAffine, DType::kF16, bits, 32};
    f.zero_points = true;
    return f;
  }

  // [groups, rows]
  std::vector<F16> scales_by_group() const {
    std::vector<F16> out;
    for (int64_t g = 0; g < groups(); ++g) {
      for (int64_t r = 0; r < rows; ++r)
        out.push_back(scales[static_cast<size_t>(r * groups() + g)]);
    }
    return out;
  }
};

std::vector<float> unpacked(const StoredMatrix& m, const int32_t* order = nullptr) {
  const Format& f = m.format;
  const auto n = static_cast<size_t>(m.rows);
  std::vector<std::byte> codes(n * f.code_bytes(m.cols)), scales(n * f.scale_bytes(m.cols)),
      biases(n * f.bias_bytes(m.cols));
  const int64_t step = (m.rows + 1) / 2;  // in two pieces
  for (int64_t begin = 0; begin < m.rows; begin += step) {
    const int64_t count = std::min(step, m.rows - begin);
    unpack_rows(m, order, begin, count, codes.data() + begin * f.code_bytes(m.cols),
                scales.data() + begin * f.scale_bytes(m.cols),
                biases.data() + begin * f.bias_bytes(m.cols));
  }
  std::vector<float> out(n * static_cast<size_t>(m.cols));
  for (size_t r = 0; r < n; ++r) {
    decode_row(f, m.cols, codes.data() + r * f.code_bytes(m.cols),
               scales.data() + r * f.scale_bytes(m.cols), biases.data() + r * f.bias_bytes(m.cols),
               out.data() + r * static_cast<size_t>(m.cols));
  }
  return out;
}

const std::byte* bytes_of(const auto& values) {
  return reinterpret_cast<const std::byte*>(values.data());
}

TEST(Storage, UnpacksGptq) {
  for (int bits : {2, 3, 4, 8}) {
    for (bool less_one : {true, false}) {
      for (bool permuted : {false, true}) {
        const Quantised q(bits, 64);
        std::vector<int32_t> inputs(static_cast<size_t>(q.cols)), groups(inputs);
        std::iota(inputs.begin(), inputs.end(), 0);
        if (permuted) std::shuffle(inputs.begin(), inputs.end(), std::mt19937(7));
        for (int64_t i = 0; i < q.cols; ++i) {
          groups[static_cast<size_t>(inputs[static_cast<size_t>(i)])] =
              static_cast<int32_t>(i / q.group);
        }
        Bits codes(static_cast<size_t>(q.cols * bits / 32 * q.rows));
        Bits zeros(static_cast<size_t>(q.groups() * q.rows * bits / 32));
        for (int64_t r = 0; r < q.rows; ++r) {
          for (int64_t i = 0; i < q.cols; ++i) {
            for (int b = 0; b < bits; ++b) {
              const int64_t bit = i * bits + b;
              const uint32_t code = q.codes[static_cast<size_t>(r * q.cols + i)];
              codes.put((bit / 32 * q.rows + r) * 32 + bit % 32, 1, code >> b & 1);
            }
          }
          for (int64_t g = 0; g < q.groups(); ++g) {
            const uint32_t zero = q.zeros[static_cast<size_t>(r * q.groups() + g)];
            zeros.put(g * q.rows * bits + r * bits, bits, less_one ? zero - 1 : zero);
          }
        }
        const std::vector<F16> scales = q.scales_by_group();
        StoredMatrix m{{Storage::Kind::kGptq, q.group, 1, less_one},
                       q.format(),
                       q.rows,
                       q.cols,
                       codes.data(),
                       bytes_of(scales),
                       zeros.data()};
        std::vector<int32_t> order(static_cast<size_t>(q.cols));
        ASSERT_TRUE(sort_inputs(bytes_of(groups), q.cols, q.group, order.data()));
        const std::vector<float> w = unpacked(m, permuted ? order.data() : nullptr);
        for (int64_t r = 0; r < q.rows; ++r) {
          for (int64_t i = 0; i < q.cols; ++i) {
            ASSERT_EQ(w[static_cast<size_t>(r * q.cols + i)],
                      q.weight(r, order[static_cast<size_t>(i)], i / q.group))
                << bits << " bits, row " << r << " input " << i;
          }
        }
      }
    }
  }
}

TEST(Storage, UnpacksAwq) {
  constexpr int kOrder[] = {0, 2, 4, 6, 1, 3, 5, 7};  // of outputs, from the low bits up
  const Quantised q(4, 96);
  Bits codes(static_cast<size_t>(q.cols * q.rows / 8));
  Bits zeros(static_cast<size_t>(q.groups() * q.rows / 8));
  for (int64_t eight = 0; eight < q.rows / 8; ++eight) {
    for (int place = 0; place < 8; ++place) {
      const int64_t r = eight * 8 + kOrder[place];
      for (int64_t i = 0; i < q.cols; ++i) {
        codes.put((i * q.rows / 8 + eight) * 32 + 4 * place, 4,
                  q.codes[static_cast<size_t>(r * q.cols + i)]);
      }
      for (int64_t g = 0; g < q.groups(); ++g) {
        zeros.put((g * q.rows / 8 + eight) * 32 + 4 * place, 4,
                  q.zeros[static_cast<size_t>(r * q.groups() + g)]);
      }
    }
  }
  const std::vector<F16> scales = q.scales_by_group();
  const std::vector<float> w = unpacked({{Storage::Kind::kAwq, q.group},
                                         q.format(),
                                         q.rows,
                                         q.cols,
                                         codes.data(),
                                         bytes_of(scales),
                                         zeros.data()});
  for (int64_t r = 0; r < q.rows; ++r) {
    for (int64_t i = 0; i < q.cols; ++i) {
      ASSERT_EQ(w[static_cast<size_t>(r * q.cols + i)], q.weight(r, i, i / q.group));
    }
  }
}

TEST(Storage, UnpacksPacked) {
  for (int bits : {2, 3, 4, 8}) {
    for (bool symmetric : {false, true}) {
      Quantised q(bits, bits == 8 ? 192 : 32);  // a scale a row, or a group
      if (symmetric) std::fill(q.zeros.begin(), q.zeros.end(), 1u << (bits - 1));
      Bits codes(static_cast<size_t>(q.rows * q.cols * bits / 32));
      Bits zeros(static_cast<size_t>(q.rows * bits / 32 * q.groups()));
      for (int64_t r = 0; r < q.rows; ++r) {
        for (int64_t i = 0; i < q.cols; ++i) {
          codes.put((r * q.cols + i) * bits, bits, q.codes[static_cast<size_t>(r * q.cols + i)]);
        }
        for (int64_t g = 0; g < q.groups(); ++g) {
          for (int b = 0; b < bits; ++b) {
            const int64_t bit = r * bits + b;
            zeros.put((bit / 32 * q.groups() + g) * 32 + bit % 32, 1,
                      q.zeros[static_cast<size_t>(r * q.groups() + g)] >> b & 1);
          }
        }
      }
      const StoredMatrix m{{Storage::Kind::kPacked, q.group},
                           q.format(),
                           q.rows,
                           q.cols,
                           codes.data(),
                           bytes_of(q.scales),
                           symmetric ? nullptr : zeros.data()};
      std::vector<int32_t> order(static_cast<size_t>(q.cols));
      std::iota(order.begin(), order.end(), 0);
      for (bool permuted : {false, true}) {
        if (permuted) std::shuffle(order.begin(), order.end(), std::mt19937(5));
        const std::vector<float> w = unpacked(m, permuted ? order.data() : nullptr);
        for (int64_t r = 0; r < q.rows; ++r) {
          for (int64_t i = 0; i < q.cols; ++i) {
            ASSERT_EQ(w[static_cast<size_t>(r * q.cols + i)],
                      q.weight(r, order[static_cast<size_t>(i)], i / q.group));
          }
        }
      }
    }
  }
}

TEST(Storage, SpreadsTheScalesOfBlocks) {
  struct Blocks {
    int64_t rows, inputs;
  };
  const int64_t rows = 150, cols = 300;
  std::vector<uint8_t> codes(static_cast<size_t>(rows * cols));
  for (size_t i = 0; i < codes.size(); ++i) codes[i] = static_cast<uint8_t>(i * 37 % 127);
  for (const Blocks b : {Blocks{128, 128}, Blocks{1, cols}, Blocks{rows, cols}, Blocks{1, 128}}) {
    const int64_t across = (cols + b.inputs - 1) / b.inputs;
    std::vector<float> scales(static_cast<size_t>((rows + b.rows - 1) / b.rows * across));
    for (size_t i = 0; i < scales.size(); ++i) scales[i] = 0.1f + static_cast<float>(i);
    const Format format{Encoding::kFloats, DType::kF32, 8, 128};
    const std::vector<float> w = unpacked({{Storage::Kind::kScaled, b.inputs, b.rows},
                                           format,
                                           rows,
                                           cols,
                                           bytes_of(codes),
                                           bytes_of(scales),
                                           nullptr});
    for (int64_t r = 0; r < rows; ++r) {
      for (int64_t i = 0; i < cols; ++i) {
        const size_t at = static_cast<size_t>(r * cols + i);
        ASSERT_EQ(w[at], e4m3_to_float(codes[at]) *
                             scales[static_cast<size_t>(r / b.rows * across + i / b.inputs)]);
      }
    }
  }
}

TEST(Storage, MultipliesNvfp4ScalesWithTheGlobalOne) {
  const Format format{Encoding::kFloats, DType::kF32, 4, 16};
  std::vector<uint8_t> codes(16, 0x75), scales = {0x38, 0x40};  // 3, 6; 1 and 2
  const float global = 5376;                                    // twice 448 * 6
  const std::vector<float> w = unpacked({{Storage::Kind::kTwoScales, 16},
                                         format,
                                         1,
                                         32,
                                         bytes_of(codes),
                                         bytes_of(scales),
                                         reinterpret_cast<const std::byte*>(&global)});
  EXPECT_EQ(w[0], 6);
  EXPECT_EQ(w[1], 12);
  EXPECT_EQ(w[31], 24);
}

TEST(SortInputs, WantsEveryGroupFull) {
  const auto sort = [](std::vector<int32_t> groups, int64_t group) {
    std::vector<int32_t> order(groups.size());
    if (!sort_inputs(bytes_of(groups), static_cast<int64_t>(groups.size()), group, order.data())) {
      order.clear();
    }
    return order;
  };
  EXPECT_EQ(sort({1, 0, 0, 1}, 2), (std::vector<int32_t>{1, 2, 0, 3}));
  EXPECT_EQ(sort({1, 0, 0}, 2), (std::vector<int32_t>{1, 2, 0}));  // the last one is shorter
  EXPECT_TRUE(sort({0, 0, 0, 1}, 2).empty());
  EXPECT_TRUE(sort({0, 0, 1, 2}, 2).empty());
  EXPECT_TRUE(sort({0, 0, 1, -1}, 2).empty());
}

TEST(SmallFloats, AreWhatTheirBitsSay) {
  EXPECT_EQ(e4m3_to_float(0x00), 0.0f);
  EXPECT_EQ(e4m3_to_float(0x01), 0x1p-9f);
  EXPECT_EQ(e4m3_to_float(0x38), 1.0f);
  EXPECT_EQ(e4m3_to_float(0xb9), -1.125f);
  EXPECT_EQ(e4m3_to_float(0x7e), 448.0f);
  EXPECT_TRUE(std::isnan(e4m3_to_float(0x7f)));
  EXPECT_EQ(e8m0_to_float(127), 1.0f);
  EXPECT_EQ(e8m0_to_float(0), 0x1p-127f);
  EXPECT_EQ(e8m0_to_float(254), 0x1p127f);
  EXPECT_TRUE(std::isnan(e8m0_to_float(255)));
}

}  // namespace
}  // namespace flashmoe::quant
