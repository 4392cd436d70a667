// Fuzzes the reader of tokenizer.json and the tokenizer itself. The first byte chooses: 'j' the
// rest is a tokenizer.json, 'p' it is a JSON merge patch of a small valid one; else it is text for
// a fixed tokenizer. Errors are fine; crashes, wrong round trips and half characters are not.
#include <cstdint>
#include <cstdlib>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "base/check.h"
#include "base/error.h"
#include "text/bpe_alphabet.h"
#include "text/stream_decoder.h"
#include "text/tokenizer.h"
#include "text/utf8.h"

namespace {

using flashmoe::Error;
using flashmoe::text::MarkedText;
using flashmoe::text::StreamDecoder;
using flashmoe::text::Tokenizer;
using Json = nlohmann::json;
using Ids = std::vector<int32_t>;

constexpr char kSplits[] = R"json({"type": "Sequence", "pretokenizers": [
  {"type": "Split", "pattern": {"Regex": "\\p{N}{1,3}"}, "behavior": "Isolated", "invert": false},
  {"type": "Split", "pattern": {"Regex": "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"},
   "behavior": "Isolated", "invert": false},
  {"type": "ByteLevel", "add_prefix_space": false, "use_regex": false}]})json";

Json base() {
  Json vocab = Json::object();
  for (int byte = 0; byte < 256; ++byte) {
    const char bytes[] = {static_cast<char>(byte)};
    std::string spelling;
    flashmoe::text::append_byte_level({bytes, 1}, &spelling);
    vocab[spelling] = byte;
  }
  Json merges = Json::array();
  const char* const kMerges[][2] = {{"a", "a"},        {"t", "h"},      {"th", "e"},
                                    {"aa", "aa"},      {"e", "\u00cc"}, {"\u0120", "\u0120"},
                                    {"\u0120", "the"}, {"h", "e"}};
  for (const auto& [left, right] : kMerges) {
    vocab[std::string(left) + right] = vocab.size();
    merges.push_back({left, right});
  }
  Json added = Json::array();
  const auto add = [&](const char* content, bool special, bool normalized, bool strip) {
    added.push_back({{"id", vocab.size() + added.size()},
                     {"content", content},
                     {"special", special},
                     {"normalized", normalized},
                     {"lstrip", strip},
                     {"rstrip", strip},
                     {"single_word", strip}});
  };
  add("<s>", true, false, false);
  add("<t>", false, false, false);
  add("<s><t>", true, false, false);
  add("<n\u00e9>", true, true, false);
  return {{"version", "1.0"},
          {"added_tokens", added},
          {"pre_tokenizer", Json::parse(kSplits)},
          {"model", {{"type", "BPE"}, {"vocab", vocab}, {"merges", merges}}}};
}

void check_text(const Tokenizer& tokenizer, std::string_view text, bool keeps_text) {
  std::string valid;
  flashmoe::text::utf8_append_lossy(text, false, &valid);
  MarkedText marked{std::string(text), {}};
  for (size_t i = 0; i + 7 < text.size(); i += 11) marked.from_template.push_back({i, i + 7});
  for (const Ids& ids :
       {tokenizer.encode(text, false), tokenizer.encode(text, true), tokenizer.encode(marked)}) {
    const std::string decoded = tokenizer.decode(ids, false);
    CHECK(flashmoe::text::utf8_valid_prefix(decoded) == decoded.size());
    CHECK(!keeps_text || !marked.from_template.empty() || decoded == valid);
    StreamDecoder decoder(tokenizer, false);
    std::string streamed;
    for (const int32_t id : ids) streamed += decoder.push(id);
    streamed += decoder.finish();
    CHECK(streamed == decoded);
  }
  CHECK(tokenizer.encode(text, false) == tokenizer.encode(valid, false));
  for (const int32_t id : tokenizer.encode(text, false)) CHECK(!tokenizer.is_special(id));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const Json kBase = base();
  static const Tokenizer kPlain = Tokenizer::from_json(kBase.dump(), "plain");
  static const Tokenizer kComposing = [] {
    Json json = kBase;
    json["normalizer"] = {{"type", "NFKC"}};
    return Tokenizer::from_json(json.dump(), "composing");
  }();
  if (size == 0) return 0;
  const std::string_view input(reinterpret_cast<const char*>(data) + 1, size - 1);
  if (data[0] != 'j' && data[0] != 'p') {
    check_text(kPlain, input, true);
    check_text(kComposing, input, false);
    return 0;
  }
  try {
    std::string json(input);
    if (data[0] == 'p') {
      const Json patch = Json::parse(input, nullptr, false);
      if (patch.is_discarded()) return 0;
      Json patched = kBase;
      patched.merge_patch(patch);
      json = patched.dump(-1, ' ', false, Json::error_handler_t::replace);
    }
    const Tokenizer tokenizer = Tokenizer::from_json(json, "fuzz");
    for (const char* text :
         {"", "the  <s>\n\n a\u0301 12345 \xff<t>\u4f60\u597d!", "--a--  b", "aaaaaaaa"}) {
      for (const bool parse_special : {false, true}) {
        const std::string decoded = tokenizer.decode(tokenizer.encode(text, parse_special), true);
        CHECK(flashmoe::text::utf8_valid_prefix(decoded) == decoded.size());
      }
    }
  } catch (const Error&) {
  }
  return 0;
}
