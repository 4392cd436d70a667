// Decoding and products of GGUF's blocks against the gguf package, to the bit
// (tools/golden_blocks.py).
#include "quant/blocks.h"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstring>
#include <fstream>
#include <iterator>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "quant/arithmetic.h"
#include "quant/decode.h"

namespace flashmoe::quant {
namespace {

struct Golden {
  Format format;
  std::vector<std::byte> bytes;  // the blocks, from an odd address on, as in files
  std::vector<float> weights;

  const std::byte* blocks() const { return bytes.data() + 1; }
};

std::vector<Golden> golden_blocks() {
  std::ifstream file(FLASHMOE_SOURCE_DIR "/tests/golden/quant/blocks.bin", std::ios::binary);
  const std::string data(std::istreambuf_iterator<char>(file), {});
  std::vector<Golden> all;
  for (size_t at = 0; at < data.size();) {
    int32_t header[3];  // type, inputs, bytes
    std::memcpy(header, data.data() + at, sizeof(header));
    at += sizeof(header);
    const auto type = block_type(static_cast<uint32_t>(header[0]));
    EXPECT_TRUE(type.has_value()) << header[0];
    if (!type) break;
    const auto inputs = static_cast<size_t>(header[1]), bytes = static_cast<size_t>(header[2]);
    Golden golden{Format::of_blocks(*type), std::vector<std::byte>(1 + bytes),
                  std::vector<float>(inputs)};
    std::memcpy(golden.bytes.data() + 1, data.data() + at, bytes);
    std::memcpy(golden.weights.data(), data.data() + at + bytes, 4 * inputs);
    at += bytes + 4 * inputs;
    EXPECT_EQ(golden.format.row_bytes(header[1]), bytes) << golden.format.name();
    all.push_back(std::move(golden));
  }
  return all;
}

TEST(Blocks, AreDecodedAsByTheReference) {
  const std::vector<Golden> all = golden_blocks();
  EXPECT_EQ(all.size(), 23u);
  for (const Golden& golden : all) {
    std::vector<float> decoded(golden.weights.size());
    decode_row(golden.format, static_cast<int64_t>(decoded.size()), golden.blocks(), nullptr,
               nullptr, decoded.data());
    for (size_t i = 0; i < decoded.size(); ++i) {
      ASSERT_EQ(std::bit_cast<uint32_t>(decoded[i]), std::bit_cast<uint32_t>(golden.weights[i]))
          << golden.format.name() << " weight " << i << ": " << decoded[i] << ", not "
          << golden.weights[i];
    }
  }
}

// The products stay within (terms + 8) roundings of the sum of magnitudes.
TEST(Blocks, AreMultipliedCloseToDoublePrecision) {
  struct alignas(64) Line {
    std::byte bytes[64];
  };
  std::mt19937 random(5);
  std::normal_distribution<float> normal;
  for (const Golden& golden : golden_blocks()) {
    const auto cols = static_cast<int64_t>(golden.weights.size());
    std::vector<float> x(golden.weights.size());
    for (float& v : x) v = normal(random);
    std::vector<Line> int8_bytes(int8_row_bytes(cols) / 64),
        split_bytes(split_row_bytes(cols) / 64);
    round_row(x.data(), cols, int8_bytes[0].bytes);
    split_row(x.data(), cols, split_bytes[0].bytes);
    const Int8Row xi = int8_row(int8_bytes[0].bytes, cols);
    const auto product_with_part = [&](size_t part) {
      const auto* parts = reinterpret_cast<const std::byte*>(split_bytes.data());
      return dot(golden.format.block, golden.blocks(), cols,
                 int8_row(parts + part * int8_row_bytes(cols), cols));
    };
    double exact_int8 = 0, exact_float = 0, magnitude = 0;
    const BlockShape shape = block_shape(golden.format.block);
    Block block;
    for (int64_t i = 0; i < cols; ++i) {
      const double w = golden.weights[static_cast<size_t>(i)];
      exact_int8 += w * xi.codes[i] * double{xi.scales[i / 64]};
      exact_float += w * x[static_cast<size_t>(i)];
      // Minima are summed apart from the rest.
      const int64_t at = i % shape.inputs;
      if (at == 0) {
        const int64_t b = i / shape.inputs;
        unpack_block(golden.format.block,
                     golden.blocks() + b * block_info(golden.format.block).bytes, &block);
      }
      double minimum = 0;
      if (shape.minima) {
        minimum = double{block.biases[at / shape.frame]} * block.sub_mins[at / shape.piece];
      }
      magnitude += (std::fabs(w) + 2 * std::fabs(minimum)) * std::fabs(x[static_cast<size_t>(i)]);
    }
    const double bound = magnitude * (256 + 8) * 0x1p-24;
    EXPECT_NEAR(dot(golden.format.block, golden.blocks(), cols, xi), exact_int8, bound)
        << golden.format.name();
    EXPECT_NEAR(sum_parts(product_with_part(0), product_with_part(1), product_with_part(2)),
                exact_float, bound)
        << golden.format.name();
    EXPECT_GT(std::fabs(exact_float), 10 * bound) << golden.format.name();
  }
}

}  // namespace
}  // namespace flashmoe::quant
