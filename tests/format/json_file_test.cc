#include "format/json_file.h"

#include <gtest/gtest.h>

#include "tests/base/temp_folder.h"
#include "tests/format/files.h"

namespace flashmoe::format {
namespace {

using nlohmann::json;

TEST(JsonFile, ReadsEveryKindOfValue) {
  const std::string text =
      R"({"a":[1,-2,3.5,"x",true,null,{"b":{"c":[[],{}]},"d":18446744073709551615}],"e":"ü\u0001"})";
  EXPECT_EQ(parse_json(text, "f"), json::parse(text));
  for (const char* scalar : {"1", "\"x\"", "null", "[]", "{}"}) {
    EXPECT_EQ(parse_json(scalar, "f"), json::parse(scalar));
  }
}

TEST(JsonFile, BoundsNesting) {
  const auto nested = [](int depth) {
    return std::string(static_cast<size_t>(depth), '[') +
           std::string(static_cast<size_t>(depth), ']');
  };
  EXPECT_NO_THROW(parse_json(nested(kMaxJsonDepth), "f"));
  expect_error(ErrorCode::kCorrupt, {"f: ", "deeper than 64"},
               [&] { parse_json(nested(kMaxJsonDepth + 1), "f"); });
  expect_error(ErrorCode::kCorrupt, {"deeper than 64"},
               [&] { parse_json(std::string(1000000, '['), "f"); });
}

TEST(JsonFile, RefusesDuplicateKeysAtAnyDepth) {
  expect_error(ErrorCode::kCorrupt, {"f: ", "\"a\" twice"},
               [] { parse_json(R"({"a":1,"b":2,"a":1})", "f"); });
  expect_error(ErrorCode::kCorrupt, {"\"a\" twice"},
               [] { parse_json(R"({"x":[{"a":{},"\u0061":{}}]})", "f"); });
  EXPECT_NO_THROW(parse_json(R"({"a":{"a":{"a":1}},"b":{"a":2}})", "f"));
}

TEST(JsonFile, NamesThePlaceOfWhatIsNotJson) {
  expect_error(ErrorCode::kCorrupt, {"f: is not valid JSON at byte 6"},
               [] { parse_json(R"({"a":})", "f"); });
  for (const char* text : {"", "{", "{}x", "\"\xff\"", "[1e999]", "{'a':1}", "[1,]", "nul"}) {
    expect_error(ErrorCode::kCorrupt, {"not valid JSON"}, [&] { parse_json(text, "f"); });
  }
}

TEST(JsonFile, ReadsFiles) {
  const TempFolder folder;
  folder.write("a.json", R"({"x":1})");
  EXPECT_EQ(read_json_file(folder.file("a.json")), json({{"x", 1}}));
  expect_error(ErrorCode::kNotFound, {folder.file("b.json"), "no such file"},
               [&] { read_json_file(folder.file("b.json")); });
  folder.write("empty.json", "");
  expect_error(ErrorCode::kCorrupt, {folder.file("empty.json"), "empty"},
               [&] { read_json_file(folder.file("empty.json")); });
  folder.write("lfs.json", "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n");
  expect_error(
      ErrorCode::kCorrupt,
      {folder.file("lfs.json"), "Git LFS pointer", "git -C '" + folder.path() + "' lfs pull"},
      [&] { read_json_file(folder.file("lfs.json")); });
  expect_error(ErrorCode::kIo, {"not a regular file"}, [&] { read_json_file(folder.path()); });
  std::filesystem::create_symlink("gone.json", folder.file("link.json"));
  expect_error(ErrorCode::kNotFound, {folder.file("link.json"), "links to gone.json"},
               [&] { read_json_file(folder.file("link.json")); });
}

TEST(JsonFile, CutsLongValuesInMessages) {
  EXPECT_EQ(brief("ü"), R"("\u00fc")");
  EXPECT_EQ(brief(std::string(1000, 'x')).size(), 60u);
}

}  // namespace
}  // namespace flashmoe::format
