// flash-moe's tokenizer.bin, written here from a tokenizer.json: the same ids.
#include "text/tokenizer_bin.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>
#include <string>

#include "base/error.h"
#include "text/tokenizer.h"

namespace flashmoe::text {
namespace {

using nlohmann::json;

const std::string kTiny = FLASHMOE_SOURCE_DIR "/models/tiny/tokenizer.json";

std::string number(uint64_t value, int bytes) {
  std::string text;
  for (int i = 0; i < bytes; ++i) text += static_cast<char>(value >> (8 * i));
  return text;
}
std::string text(const std::string& value) { return number(value.size(), 2) + value; }

std::string tokenizer_bin(const json& source) {
  const json& model = source.at("model");
  std::string bytes = "BPET" + number(1, 4) + number(model.at("vocab").size(), 4) +
                      number(model.at("merges").size(), 4) +
                      number(source.at("added_tokens").size(), 4);
  for (const auto& [token, id] : model.at("vocab").items()) {
    bytes += number(id, 4) + text(token);
  }
  for (const json& merge : model.at("merges")) {
    if (merge.is_array()) {
      bytes += text(merge[0]) + text(merge[1]);
    } else {
      const auto pair = merge.get<std::string>();
      bytes += text(pair.substr(0, pair.find(' '))) + text(pair.substr(pair.find(' ') + 1));
    }
  }
  for (const json& token : source.at("added_tokens")) {
    bytes += number(token.at("id"), 4) + text(token.at("content"));
  }
  return bytes;
}

class TokenizerBinTest : public testing::Test {
 protected:
  void SetUp() override {
    if (!std::filesystem::exists(kTiny)) GTEST_SKIP() << "there is no trained model";
    bytes_ = tokenizer_bin(json::parse(std::ifstream(kTiny)));
  }
  std::string bytes_;
};

TEST_F(TokenizerBinTest, GivesTheIdsOfTokenizerJson) {
  const Tokenizer expected = Tokenizer::from_file(kTiny);
  const Tokenizer actual(parse_tokenizer_bin(bytes_, "tokenizer.bin"));
  EXPECT_EQ(actual.vocab_size(), expected.vocab_size());
  for (const char* sample :
       {"Hello, world!", "  What's 12 + 345?\n\n  It's\t(foo).bar",
        "caf\u00e9 na\u00efve \u4f60\u597d", "<|im_start|>user\nhi<|im_end|>\n<think>\n"}) {
    for (const bool special : {false, true}) {
      EXPECT_EQ(actual.encode(sample, special), expected.encode(sample, special)) << sample;
    }
  }
  for (const char* token : {"<|im_end|>", "<think>"}) {
    const int32_t id = expected.id_of(token).value();
    EXPECT_EQ(actual.id_of(token), id);
    EXPECT_EQ(actual.is_special(id), expected.is_special(id));
  }
}

// Marks stay with their letters, as Qwen3.5's tokenizer has it.
TEST_F(TokenizerBinTest, SplitsAsTheFamilyDoes) {
  const TokenizerSpec spec = parse_tokenizer_bin(bytes_, "tokenizer.bin");
  ASSERT_EQ(spec.pre_tokenizers.size(), 2u);
  EXPECT_NE(spec.pre_tokenizers[0].pattern.text.find("[\\p{L}\\p{M}]+"), std::string::npos);
  EXPECT_EQ(spec.normalizers[0].kind, NormalizerStep::kNfc);
}

TEST_F(TokenizerBinTest, RefusesWhatIsNotWhole) {
  for (const size_t size : {size_t{0}, size_t{3}, size_t{19}, size_t{100}, bytes_.size() - 1}) {
    EXPECT_THROW(parse_tokenizer_bin(std::string_view(bytes_).substr(0, size), "tokenizer.bin"),
                 Error)
        << size;
  }
  EXPECT_THROW(parse_tokenizer_bin(bytes_ + "x", "tokenizer.bin"), Error);
  std::string damaged = bytes_;
  damaged[4] = 2;
  EXPECT_THROW(parse_tokenizer_bin(damaged, "tokenizer.bin"), Error);
  damaged = bytes_;
  damaged.replace(8, 4, 4, '\xff');
  EXPECT_THROW(parse_tokenizer_bin(damaged, "tokenizer.bin"), Error);
}

}  // namespace
}  // namespace flashmoe::text
