// Decoding of GGUF's blocks against the gguf package, to the bit (tools/golden_blocks.py).
#include "quant/blocks.h"

#include <gtest/gtest.h>

#include <bit>
#include <cstring>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "quant/decode.h"

namespace flashmoe::quant {
namespace {

TEST(Blocks, AreDecodedAsByTheReference) {
  std::ifstream file(FLASHMOE_SOURCE_DIR "/tests/golden/quant/blocks.bin", std::ios::binary);
  const std::string data(std::istreambuf_iterator<char>(file), {});
  int types = 0;
  for (size_t at = 0; at < data.size(); ++types) {
    int32_t header[3];
    std::memcpy(header, data.data() + at, sizeof(header));
    const auto [id, inputs, bytes] = header;
    // An odd address, as blocks in files have.
    std::vector<std::byte> blocks(static_cast<size_t>(bytes) + 1);
    std::vector<float> expected(static_cast<size_t>(inputs)), actual(expected.size());
    std::memcpy(blocks.data() + 1, data.data() + at + sizeof(header), bytes);
    std::memcpy(expected.data(), data.data() + at + sizeof(header) + bytes, 4 * expected.size());
    at += sizeof(header) + bytes + 4 * expected.size();
    const auto type = block_type(static_cast<uint32_t>(id));
    ASSERT_TRUE(type.has_value()) << id;
    const Format format = Format::of_blocks(*type);
    ASSERT_EQ(format.row_bytes(inputs), static_cast<size_t>(bytes)) << format.name();
    decode_row(format, inputs, blocks.data() + 1, nullptr, nullptr, actual.data());
    for (size_t i = 0; i < expected.size(); ++i) {
      ASSERT_EQ(std::bit_cast<uint32_t>(actual[i]), std::bit_cast<uint32_t>(expected[i]))
          << format.name() << " weight " << i << ": " << actual[i] << ", not " << expected[i];
    }
  }
  EXPECT_EQ(types, 23);
}

}  // namespace
}  // namespace flashmoe::quant
