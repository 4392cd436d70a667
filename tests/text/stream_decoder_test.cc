#include "text/stream_decoder.h"

#include <gtest/gtest.h>

#include "text/bpe_alphabet.h"
#include "text/utf8.h"

namespace flashmoe::text {
namespace {

// One token per byte, id = byte, and the special token <s> = 256.
TokenizerSpec byte_tokenizer() {
  TokenizerSpec spec;
  spec.name = "test";
  for (int byte = 0; byte < 256; ++byte) {
    const char bytes[] = {static_cast<char>(byte)};
    std::string spelling;
    append_byte_level({bytes, 1}, &spelling);
    spec.vocab.push_back({spelling, byte});
  }
  AddedToken special;
  special.content = "<s>";
  special.id = 256;
  special.special = true;
  spec.added_tokens.push_back(special);
  PreTokenizerStep bytes;
  bytes.kind = PreTokenizerStep::kByteLevel;
  spec.pre_tokenizers.push_back(bytes);
  return spec;
}

std::vector<int32_t> ids_of(std::string_view bytes) {
  std::vector<int32_t> ids;
  for (const char byte : bytes) ids.push_back(static_cast<unsigned char>(byte));
  return ids;
}

TEST(StreamDecoder, NeverEmitsHalfACharacter) {
  const Tokenizer tokenizer(byte_tokenizer());
  StreamDecoder decoder(tokenizer, true);
  EXPECT_EQ(decoder.push('a'), "a");
  for (const int32_t byte : {0xf0, 0x9f, 0x98}) EXPECT_EQ(decoder.push(byte), "");
  EXPECT_EQ(decoder.push(0x80), "\U0001f600");
  EXPECT_EQ(decoder.push(0xe4), "");
  EXPECT_EQ(decoder.push('b'), "\ufffdb");
  EXPECT_EQ(decoder.push(0x80), "\ufffd");
  EXPECT_EQ(decoder.push(0xe4), "");
  EXPECT_EQ(decoder.push(0xbd), "");
  EXPECT_EQ(decoder.finish(), "\ufffd");
  EXPECT_EQ(decoder.finish(), "");
  EXPECT_EQ(decoder.push('c'), "c");
}

TEST(StreamDecoder, SpecialTokens) {
  const Tokenizer tokenizer(byte_tokenizer());
  StreamDecoder without(tokenizer, true), with(tokenizer, false);
  // Skipped, it does not part a character, as in decode().
  EXPECT_EQ(without.push(0xc3), "");
  EXPECT_EQ(without.push(256), "");
  EXPECT_EQ(without.push(0xa9), "\u00e9");
  EXPECT_EQ(with.push(0xc3), "");
  EXPECT_EQ(with.push(256), "\ufffd<s>");
  EXPECT_EQ(with.push(-1), "");
  EXPECT_EQ(with.push(12345), "");
}

TEST(StreamDecoder, EqualsDecode) {
  const Tokenizer tokenizer(byte_tokenizer());
  // All strings of three bytes over those that matter to UTF-8's grammar.
  const std::string bytes = "a\x80\x90\xa0\xbf\xc2\xe0\xe4\xed\xf0\xf1\xf4\xf5";
  for (const char a : bytes) {
    for (const char b : bytes) {
      for (const char c : bytes) {
        for (const char d : bytes) {
          const std::vector<int32_t> ids = ids_of(std::string{a, b, c, d, 'z'});
          StreamDecoder decoder(tokenizer, false);
          std::string streamed;
          for (const int32_t id : ids) {
            const std::string part = decoder.push(id);
            ASSERT_EQ(utf8_valid_prefix(part), part.size());
            streamed += part;
          }
          streamed += decoder.finish();
          ASSERT_EQ(streamed, tokenizer.decode(ids, false));
        }
      }
    }
  }
}

}  // namespace
}  // namespace flashmoe::text
