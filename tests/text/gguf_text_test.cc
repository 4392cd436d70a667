#include "text/gguf_text.h"

#include <gtest/gtest.h>

#include <fstream>

#include "base/error.h"
#include "text/bpe_alphabet.h"
#include "text/pre_tokenizer.h"
#include "text/tokenizer.h"
#include "text/tokenizer_json.h"
#include "text/tokenizer_json_writer.h"

namespace flashmoe::text {
namespace {

using Json = nlohmann::json;
using Ids = std::vector<int32_t>;

// The 256 bytes, "he", "ll", "hell", a token of each type, and an unused one.
Json metadata() {
  Json m = {{"tokenizer.ggml.model", "gpt2"}, {"tokenizer.ggml.pre", "qwen2"}};
  Json& tokens = m["tokenizer.ggml.tokens"];
  Json& types = m["tokenizer.ggml.token_type"];
  const auto add = [&](const std::string& token, unsigned type) {
    tokens.push_back(token);
    types.push_back(type);
  };
  for (int byte = 0; byte < 256; ++byte) {
    const char bytes[] = {static_cast<char>(byte)};
    std::string spelling;
    append_byte_level({bytes, 1}, &spelling);
    add(spelling, 1);
  }
  add("he", 1);             // 256
  add("ll", 1);             // 257
  add("[PAD258]", 5);       // 258
  add("<|im_end|>", 3);     // 259
  add("<think>", 4);        // 260
  add("hell", 1);           // 261
  add("<unk>", 2);          // 262
  add("<|endoftext|>", 3);  // 263
  add("<|im_end|> ", 1);    // 264
  m["tokenizer.ggml.merges"] = {"h e", "l l", "he ll"};
  m["tokenizer.ggml.eos_token_id"] = 259u;
  m["tokenizer.ggml.bos_token_id"] = 263u;
  m["tokenizer.ggml.padding_token_id"] = 100000u;
  return m;
}

GgufText read(const Json& metadata) { return GgufText(metadata, "x.gguf"); }

void expect_error(const Json& metadata, ErrorCode code, const std::vector<std::string>& parts) {
  try {
    read(metadata);
  } catch (const Error& error) {
    EXPECT_EQ(static_cast<int>(error.code()), static_cast<int>(code)) << error.what();
    for (const std::string& part : parts) {
      EXPECT_NE(std::string(error.what()).find(part), std::string::npos) << error.what();
    }
    return;
  }
  ADD_FAILURE() << "no error about " << parts.front();
}

TEST(GgufText, FormsTokensByTheirTypes) {
  const Tokenizer tokenizer(read(metadata()).tokenizer());
  EXPECT_EQ(tokenizer.encode("hello", false), (Ids{261, 'o'}));
  EXPECT_EQ(tokenizer.encode("<|im_end|>", true), Ids{259});
  EXPECT_GT(tokenizer.encode("<|im_end|>", false).size(), 5u);
  EXPECT_EQ(tokenizer.encode("<think>", false), Ids{260});
  EXPECT_GT(tokenizer.encode("[PAD258]", true).size(), 5u);
  EXPECT_EQ(tokenizer.encode("<unk>", true), Ids{262});
  EXPECT_TRUE(tokenizer.is_special(259));
  EXPECT_FALSE(tokenizer.is_special(260));
  EXPECT_EQ(tokenizer.decode({261, 260, 259, 258}, true), "hell<think>");
  EXPECT_EQ(tokenizer.decode({261, 260, 259}, false), "hell<think><|im_end|>");
  EXPECT_EQ(tokenizer.vocab_size(), 265);
  // Normalised, which no key says.
  EXPECT_EQ(tokenizer.encode("e\u0301", false), tokenizer.encode("\u00e9", false));
}

TEST(GgufText, KnowsEndsAndTheFirstToken) {
  Json m = metadata();
  EXPECT_EQ(read(m).end_tokens(), (Ids{259, 263}));
  EXPECT_FALSE(read(m).first_token());
  m["tokenizer.ggml.add_bos_token"] = true;
  EXPECT_EQ(read(m).first_token(), 263);
  m.erase("tokenizer.ggml.add_bos_token");
  m["tokenizer.ggml.pre"] = "llama-bpe";
  EXPECT_EQ(read(m).first_token(), 263);
  m["tokenizer.ggml.add_bos_token"] = false;
  EXPECT_FALSE(read(m).first_token());
}

TEST(GgufText, FindsTemplates) {
  Json m = metadata();
  EXPECT_FALSE(read(m).chat_template(false));
  m["tokenizer.chat_template"] = "{{ bos_token }}{{ x }}{{ eos_token }}{{ pad_token is defined }}";
  const nlohmann::ordered_json variables = {{"x", "<|im_end|>"}};
  const MarkedText text = read(m).chat_template(true)->render(variables);
  EXPECT_EQ(text.text, "<|endoftext|><|im_end|><|im_end|>False");
  const Tokenizer tokenizer(read(m).tokenizer());
  EXPECT_EQ(tokenizer.encode(text).front(), 263);
  m["tokenizer.chat_template.tool_use"] = "tools";
  EXPECT_EQ(read(m).chat_template(true)->render(variables).text, "tools");
  EXPECT_NE(read(m).chat_template(false)->render(variables).text, "tools");
}

TEST(GgufText, RefusesWhatItDoesNotKnow) {
  const auto with = [](const char* key, const Json& value) {
    Json m = metadata();
    m[std::string("tokenizer.") + key] = value;
    return m;
  };
  expect_error(with("ggml.model", "llama"), ErrorCode::kUnsupported, {"x.gguf", "'llama'"});
  expect_error(with("ggml.pre", "new-thing"), ErrorCode::kUnsupported, {"x.gguf", "'new-thing'"});
  expect_error(with("ggml.pre", "gemma4"), ErrorCode::kUnsupported, {"'gemma4'", "byte-level"});
  expect_error(with("ggml.tokens", 7), ErrorCode::kCorrupt, {"ggml.tokens", "a list"});
  expect_error(with("ggml.tokens", {1, 2}), ErrorCode::kCorrupt, {"token 0 is no string"});
  expect_error(with("ggml.tokens", {"\xff"}), ErrorCode::kCorrupt, {"not UTF-8"});
  expect_error(with("ggml.token_type", {1u}), ErrorCode::kCorrupt, {"1 types for 265 tokens"});
  expect_error(with("ggml.token_type", Json(Json::array_t(265, 7u))), ErrorCode::kCorrupt,
               {"token 0 is 7"});
  expect_error(with("ggml.merges", {"ab"}), ErrorCode::kCorrupt, {"merge 0"});
  expect_error(with("ggml.merges", {"a "}), ErrorCode::kCorrupt, {"merge 0"});
  expect_error(with("ggml.merges", {" b"}), ErrorCode::kCorrupt, {"merge 0"});
  expect_error(with("ggml.merges", {1}), ErrorCode::kCorrupt, {"merge 0"});
  expect_error(with("ggml.eos_token_id", "a"), ErrorCode::kCorrupt, {"eos_token_id"});
  expect_error(with("ggml.add_bos_token", 1), ErrorCode::kCorrupt, {"add_bos_token"});
  Json without = metadata();
  without.erase("tokenizer.ggml.merges");
  expect_error(without, ErrorCode::kCorrupt, {"ggml.merges", "missing"});
  expect_error(Json::object(), ErrorCode::kNotFound, {"ggml.model", "missing"});
}

// Against `tokenizers` with llama.cpp's expressions (tools/golden_pre_tokenizers.py).
TEST(GgufText, SplitsAsEachPreTokenizerDoes) {
  struct Pieces : PieceSink {
    void piece(std::string_view bytes) override { list.emplace_back(bytes); }
    std::vector<std::string> list;
  };
  std::ifstream file(std::string(FLASHMOE_SOURCE_DIR) +
                     "/tests/golden/tokenizers/pre_tokenizers.json");
  const Json golden = Json::parse(file);
  size_t names = 0;
  for (const Json& entry : golden.at("pre_tokenizers")) {
    for (const std::string name : entry.at("names")) {
      ++names;
      Json m = metadata();
      m["tokenizer.ggml.pre"] = name;
      const TokenizerSpec spec = read(m).tokenizer();
      const PreTokenizer pre_tokenizer(spec.pre_tokenizers, name);
      PreTokenizer::Scratch scratch(pre_tokenizer);
      for (size_t i = 0; i < golden.at("texts").size(); ++i) {
        Pieces pieces;
        const std::string text = golden.at("texts")[i];
        pre_tokenizer.run(text, &scratch, &pieces);
        EXPECT_EQ(pieces.list, entry.at("pieces")[i].get<std::vector<std::string>>())
            << name << ": " << text;
      }
    }
  }
  EXPECT_EQ(names, 86u);
}

// Written as tokenizer.json and read again, it is the same tokenizer: with ids that would be
// numbered on from the vocabulary, and with these.
TEST(GgufTextTest, WritesTheSameTokenizerAsJson) {
  Json plain = metadata();
  for (const char* key : {"tokenizer.ggml.tokens", "tokenizer.ggml.token_type"}) {
    Json& list = plain[key];
    list.erase(list.begin() + 261, list.end());
    list.erase(list.begin() + 258);
  }
  plain["tokenizer.ggml.eos_token_id"] = 258u;
  plain.erase("tokenizer.ggml.bos_token_id");
  plain["tokenizer.ggml.merges"] = {"h e", "l l"};
  for (const Json& m : {metadata(), plain}) {
    const TokenizerSpec spec = read(m).tokenizer();
    const std::string json = tokenizer_json(spec);
    const Tokenizer original(spec), again(parse_tokenizer_json(json, "tokenizer.json"));
    EXPECT_EQ(original.vocab_size(), again.vocab_size());
    for (const std::string text :
         {"hell hello, he'll", "<|im_end|> x<think>\n\n", "\u00e9\u4e2d 123 \xff", ""}) {
      for (const bool special : {false, true}) {
        EXPECT_EQ(original.encode(text, special), again.encode(text, special)) << text;
      }
    }
    for (int32_t id = 0; id < original.vocab_size(); ++id) {
      EXPECT_EQ(original.token_bytes(id), again.token_bytes(id)) << id;
    }
    EXPECT_EQ(Json::parse(json)["model"]["vocab"].contains("<think>"), m != plain);
  }
}

}  // namespace
}  // namespace flashmoe::text
