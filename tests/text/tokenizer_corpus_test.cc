// Ids and decoded text of a corpus of 4.9 million characters, against `tokenizers`
// (tests/golden/tokenizers), by tokenizer.json and by the same as GGUF metadata. The corpus is made
// here from the recipe that tools/golden_tokenizers.py reads too.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <array>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <memory>
#include <nlohmann/json.hpp>
#include <sstream>

#include "text/gguf_text.h"
#include "text/stream_decoder.h"
#include "text/tokenizer.h"
#include "text/utf8.h"

namespace flashmoe::text {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;

const fs::path kSource = FLASHMOE_SOURCE_DIR;
const fs::path kGolden = kSource / "tests/golden/tokenizers";

Json read_json(const fs::path& path) {
  std::ifstream file(path);
  EXPECT_TRUE(file) << path;
  return Json::parse(file);
}

// SplitMix64.
class Random {
 public:
  explicit Random(uint64_t seed) : state_(seed) {}
  uint64_t below(uint64_t limit) {
    uint64_t z = state_ += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return (z ^ z >> 31) % limit;
  }

 private:
  uint64_t state_;
};

size_t characters_in(std::string_view valid) {
  size_t count = 0;
  for (size_t pos = 0; pos < valid.size(); ++count) {
    pos += utf8_length(static_cast<unsigned char>(valid[pos]));
  }
  return count;
}

std::string make_block(const Json& kind, uint64_t seed) {
  Random random(seed);
  std::string text;
  const auto characters = kind["characters"].get<size_t>();
  const Json& items = kind["items"];
  if (items.empty()) {
    while (text.size() < characters) text.push_back(static_cast<char>(random.below(256)));
    return text;
  }
  for (size_t length = 0; length < characters;) {
    const Json& item = items[random.below(items.size())];
    std::string part;
    if (item.is_string()) {
      part = item.get<std::string>();
    } else {
      const auto first = item[0].get<char32_t>(), last = item[1].get<char32_t>();
      const auto c = static_cast<char32_t>(first + random.below(last - first + 1));
      if (c < 0xd800 || c >= 0xe000) utf8_append(c, &part);
    }
    const uint64_t repeat = 1 + random.below(kind["max_repeat"].get<uint64_t>());
    for (uint64_t i = 0; i < repeat; ++i) text += part;
    length += repeat * characters_in(part);
  }
  return text;
}

std::vector<std::string> make_corpus() {
  std::vector<std::string> blocks;
  const Json recipe = read_json(kGolden / "recipe.json");
  for (size_t k = 0; k < recipe["kinds"].size(); ++k) {
    const Json& kind = recipe["kinds"][k];
    for (uint64_t block = 0; block < kind["blocks"].get<uint64_t>(); ++block) {
      blocks.push_back(make_block(kind, k * 1000 + block));
    }
  }
  for (char32_t plane = 0; plane < 17; ++plane) {
    std::string text;
    for (char32_t c = plane << 16; c < (plane + 1) << 16; ++c) {
      if (c >= 0xd800 && c < 0xe000) continue;
      utf8_append(c, &text);
      if (c % 3 < 2) text += c % 3 == 0 ? 'x' : ' ';
    }
    blocks.push_back(std::move(text));
  }
  return blocks;
}

const std::vector<std::string>& corpus() {
  static const std::vector<std::string> blocks = make_corpus();
  return blocks;
}

class Fnv {
 public:
  void add(std::string_view bytes) {
    for (const char byte : bytes) {
      value_ = (value_ ^ static_cast<unsigned char>(byte)) * 0x100000001b3u;
    }
  }
  void add(const std::vector<int32_t>& ids) {
    for (const int32_t id : ids) add_id(id);
    add_id(-1);
  }
  std::string hex() const { return fmt::format("{:016x}", value_); }

 private:
  void add_id(int32_t id) {
    for (int shift = 0; shift < 32; shift += 8) {
      const char byte[] = {static_cast<char>(static_cast<uint32_t>(id) >> shift & 0xff)};
      add(std::string_view(byte, 1));
    }
  }
  uint64_t value_ = 0xcbf29ce484222325u;
};

// Every `stride`th block of the corpus.
void check(const Tokenizer& tokenizer, const char* name, size_t stride = 1) {
  const Json golden = read_json(kGolden / "corpus.json");
  ASSERT_GE(golden["characters"].get<size_t>(), 2'000'000u);
  ASSERT_EQ(golden["blocks"].get<size_t>(), corpus().size());
  int wrong = 0;
  for (size_t i = 0; i < corpus().size() && wrong < 5; i += stride) {
    const std::string& text = corpus()[i];
    const std::vector<int32_t> special = tokenizer.encode(text, true);
    const std::string decoded = tokenizer.decode(special, true);
    Fnv hash;
    hash.add(tokenizer.encode(text, false));
    hash.add(special);
    hash.add(decoded);
    EXPECT_EQ(hash.hex(), golden[name][i].get<std::string>()) << name << ", block " << i;
    wrong += hash.hex() != golden[name][i].get<std::string>();

    StreamDecoder decoder(tokenizer, true);
    std::string streamed;
    for (const int32_t id : special) {
      const std::string part = decoder.push(id);
      ASSERT_EQ(utf8_valid_prefix(part), part.size());
      streamed += part;
    }
    streamed += decoder.finish();
    ASSERT_EQ(streamed, decoded) << name << ", block " << i;
  }
}

// The output of `xz -dc path`, empty when that fails.
std::string decompress(const fs::path& path) {
  const std::string command = "xz -dc '" + path.string() + "' 2>/dev/null";
  const std::unique_ptr<FILE, int (*)(FILE*)> pipe(popen(command.c_str(), "r"), pclose);
  std::string contents;
  std::array<char, 1 << 16> buffer;
  while (pipe != nullptr) {
    const size_t read_bytes = std::fread(buffer.data(), 1, buffer.size(), pipe.get());
    if (read_bytes == 0) break;
    contents.append(buffer.data(), read_bytes);
  }
  return contents;
}

// The metadata that a conversion of this tokenizer.json to GGUF has.
Json gguf_metadata(const Json& json, const char* pre) {
  struct Token {
    std::string text;
    int type = 5;  // unused
  };
  std::vector<Token> tokens;
  const auto place = [&](size_t id) -> Token& {
    if (tokens.size() <= id) tokens.resize(id + 1);
    return tokens[id];
  };
  for (const auto& [text, id] : json["model"]["vocab"].items()) place(id) = {text, 1};
  for (const Json& added : json["added_tokens"]) {
    place(added["id"]) = {added["content"], added["special"].get<bool>() ? 3 : 4};
  }
  Json metadata = {{"tokenizer.ggml.model", "gpt2"}, {"tokenizer.ggml.pre", pre}};
  for (size_t i = 0; i < tokens.size() + 3; ++i) {
    const bool real = i < tokens.size() && tokens[i].type != 5;
    metadata["tokenizer.ggml.tokens"].push_back(real ? tokens[i].text : fmt::format("[PAD{}]", i));
    metadata["tokenizer.ggml.token_type"].push_back(
        static_cast<unsigned>(real ? tokens[i].type : 5));
  }
  for (const Json& merge : json["model"]["merges"]) {
    metadata["tokenizer.ggml.merges"].push_back(
        merge.is_string() ? merge.get<std::string>()
                          : merge[0].get<std::string>() + " " + merge[1].get<std::string>());
  }
  return metadata;
}

void check_both(const std::string& json, const char* name, const char* gguf_pre) {
  check(Tokenizer::from_json(json, name), name);
  const GgufText text(gguf_metadata(Json::parse(json), gguf_pre), name);
  check(Tokenizer(text.tokenizer()), name, 7);
}

void check_shared(const char* name, const char* gguf_pre) {
  const fs::path path = kSource / "../shared/tokenizers" / name / "tokenizer.json.xz";
  const std::string json = fs::exists(path) ? decompress(path) : "";
  if (json.empty()) GTEST_SKIP() << path << " is not there, or no xz to decompress it";
  check_both(json, name, gguf_pre);
}

TEST(TokenizerCorpus, Tiny) {
  fs::path path = kSource / "models/tiny/tokenizer.json";
  if (!fs::exists(path)) path = kSource / "../shared/models/tiny-bf16/tokenizer.json";
  if (!fs::exists(path)) GTEST_SKIP() << path << " is not there";
  check_both((std::ostringstream() << std::ifstream(path).rdbuf()).str(), "tiny", "qwen2");
}

TEST(TokenizerCorpus, Qwen3) { check_shared("qwen3", "qwen2"); }

TEST(TokenizerCorpus, DeepSeekV3) { check_shared("deepseek_v3", "deepseek-v3"); }

}  // namespace
}  // namespace flashmoe::text
