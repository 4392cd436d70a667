// Features of the tokenizer, one small tokenizer each, against `tokenizers`
// (tests/golden/tokenizers/small.json); then what is ours alone: marked text, invalid UTF-8,
// damaged files, long runs.
#include "text/tokenizer.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <nlohmann/json.hpp>
#include <thread>

#include "base/error.h"

namespace flashmoe::text {
namespace {

using Json = nlohmann::json;
using Ids = std::vector<int32_t>;

const Json& golden() {
  static const Json json = [] {
    std::ifstream file(FLASHMOE_SOURCE_DIR "/tests/golden/tokenizers/small.json");
    EXPECT_TRUE(file);
    return Json::parse(file);
  }();
  return json;
}

Json patched(const Json& patch) {
  Json json = golden()["base"];
  json.merge_patch(patch);
  return json;
}

Tokenizer make(const Json& patch) { return Tokenizer::from_json(patched(patch).dump(), "test"); }

Json added_token(int32_t id, const char* content, bool special) {
  return {{"id", id},        {"content", content}, {"special", special},  {"normalized", false},
          {"lstrip", false}, {"rstrip", false},    {"single_word", false}};
}

// The base with a special token <s>, a plain one <t> and a special one <s><t>.
constexpr int32_t kFirstAdded = 292;
Json with_added() {
  return {{"added_tokens",
           {added_token(kFirstAdded, "<s>", true), added_token(kFirstAdded + 1, "<t>", false),
            added_token(kFirstAdded + 2, "<s><t>", true)}}};
}

TEST(TokenizerGolden, EveryFeature) {
  ASSERT_GE(golden()["tokenizers"].size(), 80u);
  for (const Json& entry : golden()["tokenizers"]) {
    SCOPED_TRACE(entry["name"]);
    const Tokenizer tokenizer = make(entry["patch"]);
    Json texts = golden()["texts"];
    texts.insert(texts.end(), entry["texts"].begin(), entry["texts"].end());
    ASSERT_EQ(texts.size(), entry["ids"].size());
    for (size_t i = 0; i < texts.size(); ++i) {
      const std::string text = texts[i];
      SCOPED_TRACE(texts[i].dump());
      const auto ids = entry["ids"][i].get<Ids>();
      const auto special = entry["special"][i].is_null() ? ids : entry["special"][i].get<Ids>();
      const std::string decoded =
          entry["decoded"][i].is_null() ? text : entry["decoded"][i].get<std::string>();
      EXPECT_EQ(tokenizer.encode(text, false), ids);
      EXPECT_EQ(tokenizer.encode(text, true), special);
      EXPECT_EQ(tokenizer.decode(special, false), decoded);
      EXPECT_EQ(tokenizer.encode(MarkedText{text, {}}), ids);
      EXPECT_EQ(tokenizer.encode(MarkedText{text, {{0, text.size()}}}), special);
    }
  }
}

TEST(Tokenizer, LooksUpTokens) {
  const Tokenizer tokenizer = make(with_added());
  EXPECT_EQ(tokenizer.vocab_size(), kFirstAdded + 3);
  EXPECT_EQ(tokenizer.id_of("<s>"), kFirstAdded);
  EXPECT_EQ(tokenizer.id_of("nothing"), std::nullopt);
  EXPECT_TRUE(tokenizer.is_special(kFirstAdded));
  EXPECT_FALSE(tokenizer.is_special(kFirstAdded + 1));
  EXPECT_EQ(tokenizer.token_bytes(kFirstAdded), "<s>");
  const std::optional<int32_t> the = tokenizer.id_of("\u0120the");
  ASSERT_TRUE(the);
  EXPECT_EQ(tokenizer.token_bytes(*the), " the");
  for (const int32_t id : {-1, INT32_MIN, kFirstAdded + 3, INT32_MAX}) {
    EXPECT_EQ(tokenizer.token_bytes(id), "");
    EXPECT_FALSE(tokenizer.is_special(id));
  }
  EXPECT_EQ(tokenizer.decode({-1, *the, 999999, kFirstAdded, *the}, true), " the the");
  EXPECT_EQ(tokenizer.decode({*the, kFirstAdded}, false), " the<s>");
}

TEST(Tokenizer, FormsSpecialTokensFromTemplateTextOnly) {
  const Tokenizer tokenizer = make(with_added());
  const int32_t s = kFirstAdded, t = kFirstAdded + 1, st = kFirstAdded + 2;
  const auto count = [](const Ids& ids, int32_t id) {
    return std::count(ids.begin(), ids.end(), id);
  };
  const std::string text = "<s>a<s>b<t>";
  EXPECT_EQ(count(tokenizer.encode(text, false), s), 0);
  EXPECT_EQ(count(tokenizer.encode(text, false), t), 1);
  EXPECT_EQ(count(tokenizer.encode(text, true), s), 2);

  const Ids first_only = tokenizer.encode(MarkedText{text, {{0, 3}}});
  EXPECT_EQ(first_only.front(), s);
  EXPECT_EQ(count(first_only, s), 1);
  EXPECT_EQ(tokenizer.decode(first_only, false), text);
  // A byte short on either side, or in pieces with a message's byte between.
  EXPECT_EQ(count(tokenizer.encode(MarkedText{"<s>", {{0, 2}}}), s), 0);
  EXPECT_EQ(count(tokenizer.encode(MarkedText{"<s>", {{1, 3}}}), s), 0);
  EXPECT_EQ(count(tokenizer.encode(MarkedText{"<s>", {{0, 1}, {2, 3}}}), s), 0);
  // Template text in neighbouring ranges is one text.
  EXPECT_EQ(tokenizer.encode(MarkedText{"<s>", {{0, 1}, {1, 3}}}), Ids{s});
  // What a message begins cannot hide the template's token: "<s>" + "<t>" + "<s>".
  EXPECT_EQ(count(tokenizer.encode(MarkedText{"<s><t><s>", {{3, 9}}}), t), 1);
  EXPECT_EQ(count(tokenizer.encode(MarkedText{"<s><s>", {{3, 6}}}), s), 1);
  EXPECT_EQ(tokenizer.encode(MarkedText{"<s><t>", {{0, 6}}}), Ids{st});
}

TEST(Tokenizer, FormsNormalizedSpecialTokensFromTemplateTextOnly) {
  Json token = added_token(kFirstAdded, "<\u00e9>", true);
  token["normalized"] = true;
  const Tokenizer tokenizer = make({{"added_tokens", {token}}, {"normalizer", {{"type", "NFC"}}}});
  const std::string text = "<e\u0301>";  // 5 bytes
  EXPECT_EQ(tokenizer.encode(text, true), Ids{kFirstAdded});
  EXPECT_EQ(tokenizer.encode(MarkedText{text, {{0, 5}}}), Ids{kFirstAdded});
  for (const MarkedText::Range range : {MarkedText::Range{0, 4}, {1, 5}, {0, 2}, {2, 5}, {0, 0}}) {
    const Ids ids = tokenizer.encode(MarkedText{text, {range}});
    EXPECT_NE(ids, Ids{kFirstAdded});
    EXPECT_EQ(ids, tokenizer.encode(text, false));
  }
}

TEST(Tokenizer, ReplacesInvalidUtf8) {
  const Tokenizer tokenizer = make(with_added());
  // Right sides are what Python's bytes.decode('utf-8', 'replace') gives.
  const std::pair<std::string, std::string> cases[] = {
      {"\x80", "\ufffd"},
      {"a\xff\xfe", "a\ufffd\ufffd"},
      {"\xc0\x80", "\ufffd\ufffd"},
      {"\xe4\xbd", "\ufffd"},
      {"\xe4\xbdz", "\ufffdz"},
      {"\xed\xa0\x80", "\ufffd\ufffd\ufffd"},
      {"\xf0\x9f\x98", "\ufffd"},
      {"\xf0\x80\x80\x80", "\ufffd\ufffd\ufffd\ufffd"},
      {"\xf4\x90\x80\x80", "\ufffd\ufffd\ufffd\ufffd"},
      {"\xf0\x9f\xe4\xbd\xa0", "\ufffd\u4f60"},
  };
  for (const auto& [bytes, text] : cases) {
    EXPECT_EQ(tokenizer.encode(bytes, true), tokenizer.encode(text, true)) << text;
    EXPECT_EQ(tokenizer.encode(MarkedText{bytes, {}}), tokenizer.encode(text, false)) << text;
    EXPECT_EQ(tokenizer.decode(tokenizer.encode(bytes, true), false), text);
  }
  // Marks move along with the text.
  const std::string text = "\xff\xff<s>\xff<s>";
  const Ids ids = tokenizer.encode(MarkedText{text, {{2, 5}}});
  EXPECT_EQ(std::count(ids.begin(), ids.end(), kFirstAdded), 1);
  EXPECT_EQ(tokenizer.decode(ids, true), "\ufffd\ufffd\ufffd<s>");
  EXPECT_EQ(tokenizer.encode(MarkedText{"<s>\xe4\xbd", {{0, 4}}}).front(), kFirstAdded);
}

TEST(Tokenizer, TakesLongRuns) {
  // Anything worse than n log n would not end here.
  const Tokenizer tokenizer = make(with_added());
  const Tokenizer composing = make({{"normalizer", {{"type", "NFKC"}}}});
  constexpr size_t kRunBytes = 1'000'000;
  const std::string units[] = {"a",  " ",      "\n",           "the",    "1",
                               "=",  "\u0301", "\u0301\u0323", "\u4f60", "<",
                               "<s", "<s>",    "\r\n",         "'",      std::string(1, '\0')};
  for (const std::string& unit : units) {
    std::string text;
    while (text.size() < kRunBytes) text += unit;
    text += "x";
    for (const bool parse_special : {false, true}) {
      EXPECT_TRUE(tokenizer.decode(tokenizer.encode(text, parse_special), false) == text) << unit;
    }
    composing.encode(text, false);
  }
}

TEST(Tokenizer, EncodesFromManyThreads) {
  const Tokenizer tokenizer = make(with_added());
  const std::string text = "for (int i = 0; i < n; ++i) { return the<s>; } don't";
  const Ids expected = tokenizer.encode(text, true);
  std::vector<Ids> results(8);
  std::vector<std::thread> threads;
  for (Ids& result : results) {
    threads.emplace_back([&] {
      for (int i = 0; i < 200; ++i) result = tokenizer.encode(text, true);
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (const Ids& result : results) EXPECT_EQ(result, expected);
}

void expect_error(const std::string& json, ErrorCode code, const std::string& message) {
  try {
    Tokenizer::from_json(json, "some/tokenizer.json");
    ADD_FAILURE() << "accepted; expected: " << message;
  } catch (const Error& e) {
    EXPECT_EQ(e.code(), code) << e.what();
    EXPECT_EQ(std::string(e.what()).rfind("some/tokenizer.json: ", 0), 0u) << e.what();
    EXPECT_NE(std::string(e.what()).find(message), std::string::npos)
        << e.what() << "\nshould say: " << message;
  }
}

void expect_error(const Json& patch, ErrorCode code, const std::string& message) {
  expect_error(patched(patch).dump(), code, message);
}

TEST(TokenizerErrors, DamagedFiles) {
  const ErrorCode corrupt = ErrorCode::kCorrupt;
  expect_error(std::string(), corrupt, "not valid JSON");
  expect_error(std::string("{\"model\": {"), corrupt, "not valid JSON");
  expect_error(std::string(100000, '['), corrupt, "nested more than 64 deep");
  expect_error(std::string("[]"), corrupt, "top level: expected an object");
  expect_error(std::string("{}"), corrupt, "'model' is missing");
  expect_error(std::string(R"({"model": 3})"), corrupt, "model: expected an object");
  expect_error(std::string(R"({"model": {"merges": []}})"), corrupt, "model: 'vocab' is missing");
  expect_error(Json{{"model", {{"vocab", Json::array()}}}}, corrupt,
               "model.vocab: expected an object");
  expect_error(Json{{"model", {{"vocab", {{"xyz", "1"}}}}}}, corrupt,
               "model.vocab['xyz']: expected");
  expect_error(Json{{"model", {{"vocab", {{"xyz", -1}}}}}}, corrupt, "id -1 is not in");
  expect_error(Json{{"model", {{"vocab", {{"xyz", 1.5}}}}}}, corrupt, "model.vocab['xyz']");
  expect_error(Json{{"model", {{"vocab", {{"xyz", 4000000000u}}}}}}, corrupt,
               "id 4000000000 is not");
  expect_error(Json{{"model", {{"vocab", {{"xyz", UINT64_MAX}}}}}}, corrupt, "is not in");
  expect_error(Json{{"model", {{"vocab", {{"xyz", 5}}}}}}, corrupt, "the id 5 has two tokens");
  expect_error(Json{{"model", {{"merges", nullptr}}}}, corrupt, "'merges' is missing");
  expect_error(Json{{"model", {{"merges", "a b"}}}}, corrupt, "model.merges: expected an array");
  expect_error(Json{{"model", {{"merges", Json::array({"ab"})}}}}, corrupt,
               "model.merges[0]: expected two tokens");
  expect_error(Json{{"model", {{"merges", Json::array({"a b c"})}}}}, corrupt,
               "model.merges[0]: expected two");
  expect_error(Json{{"model", {{"merges", Json::array({Json::array({"a", 1})})}}}}, corrupt,
               "model.merges[0]: expected two");
  expect_error(Json{{"model", {{"merges", Json::array({"q nothing"})}}}}, corrupt,
               "needs the token 'nothing'");
  expect_error(Json{{"model", {{"merges", Json::array({"q x"})}}}}, corrupt,
               "needs the token 'qx'");
  expect_error(Json{{"model", {{"ignore_merges", 1}}}}, corrupt, "expected true or false");
  expect_error(Json{{"model", {{"unk_token", 1}}}}, corrupt, "model.unk_token: expected a string");
  expect_error(Json{{"added_tokens", 1}}, corrupt, "added_tokens: expected an array");
  expect_error(Json{{"added_tokens", Json::array({1})}}, corrupt,
               "added_tokens[0]: expected an object");
  expect_error(Json{{"added_tokens", {{{"id", 292}}}}}, corrupt, "added_tokens[0]: 'content' is");
  const auto added = [](std::initializer_list<Json> tokens) {
    return Json{{"added_tokens", Json(tokens)}};
  };
  expect_error(added({added_token(9, "<s>", true)}), corrupt,
               "'<s>' with id 9: its id should be 292");
  expect_error(added({added_token(7, "a", true)}), corrupt, "its id should be");
  expect_error(added({added_token(292, "<s>", true), added_token(292, "<t>", true)}), corrupt,
               "'<t>' with id 292: its id should be 293");
  expect_error(added({added_token(292, "<s>", true), added_token(293, "<s>", true)}), corrupt,
               "it is listed twice");
  Json deep = {{"type", "NFC"}};
  for (int i = 0; i < 20; ++i) deep = {{"type", "Sequence"}, {"normalizers", {deep}}};
  expect_error(Json{{"normalizer", deep}}, corrupt, "too deeply nested sequences");
  expect_error(Json{{"normalizer", {{"type", 1}}}}, corrupt, "normalizer.type: expected a string");
  expect_error(Json{{"normalizer", Json::array({1})}}, corrupt, "normalizer: expected an object");
}

TEST(TokenizerErrors, WhatIsNotSupported) {
  const ErrorCode unsupported = ErrorCode::kUnsupported;
  expect_error(Json{{"version", "2.0"}}, unsupported, "version: only version 1.0");
  expect_error(Json{{"model", {{"type", "Unigram"}}}}, unsupported, "model: the model 'Unigram'");
  expect_error(Json{{"model", {{"byte_fallback", true}}}}, unsupported, "only byte-level BPE");
  expect_error(Json{{"model", {{"dropout", 0.1}}}}, unsupported, "model.dropout");
  expect_error(Json{{"model", {{"end_of_word_suffix", "</w>"}}}}, unsupported,
               "only byte-level BPE");
  expect_error(Json{{"normalizer", {{"type", "Nmt"}}}}, unsupported, "the normalizer 'Nmt'");
  expect_error(Json{{"pre_tokenizer", nullptr}}, unsupported, "only byte-level BPE");
  expect_error(Json{{"pre_tokenizer", {{"type", "Metaspace"}}}}, unsupported, "'Metaspace'");
  expect_error(Json{{"decoder", {{"type", "WordPiece"}}}}, unsupported, "decoder: the decoder");
  for (const char* pattern : {"(",
                              ")",
                              "[",
                              "[]",
                              "*",
                              "a**",
                              "(?<n>a)",
                              "(?P<n>a)",
                              "\\",
                              "\\1",
                              "\\K",
                              "\\R",
                              "\\X",
                              "\\g",
                              "\\p{",
                              "\\pL",
                              "\\p{Nope}",
                              "\\x{110000}",
                              "\\xff",
                              "[a&&b&&c",
                              "[^a&&b]",
                              "[a[^b]]",
                              "[\\W]",
                              "[[:alpha:]]",
                              "(?x:a)",
                              "a(?i)b",
                              "a{3}?",
                              "(?<=a+)b",
                              "a{99999}",
                              "[z-a]",
                              "\\p{IsGreek0}"}) {
    SCOPED_TRACE(pattern);
    const Json split = {{"type", "Split"},
                        {"pattern", {{"Regex", pattern}}},
                        {"behavior", "Isolated"},
                        {"invert", false}};
    const Json bytes = {{"type", "ByteLevel"}, {"add_prefix_space", false}, {"use_regex", false}};
    expect_error(Json{{"pre_tokenizer", {{"type", "Sequence"}, {"pretokenizers", {split, bytes}}}}},
                 unsupported, "pattern");
  }
}

TEST(TokenizerErrors, NoFile) {
  try {
    Tokenizer::from_file("/nowhere/tokenizer.json");
    FAIL();
  } catch (const Error& e) {
    EXPECT_EQ(e.code(), ErrorCode::kNotFound);
  }
}

}  // namespace
}  // namespace flashmoe::text
