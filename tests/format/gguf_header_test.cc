#include "format/gguf_header.h"

#include <gtest/gtest.h>

#include "tests/base/temp_folder.h"
#include "tests/format/files.h"
#include "tests/format/gguf_bytes.h"

namespace flashmoe::format {
namespace {

using quant::DType;

constexpr const char* kPath = "folder/x.gguf";

GgufHeader parse(const std::string& bytes, bool keep = true) {
  const auto read = [&](uint64_t offset, uint64_t n) {
    EXPECT_LE(offset + n, bytes.size());
    return bytes.substr(offset, n);
  };
  return parse_gguf_header(read, bytes.size(), kPath, 3, [&](std::string_view) { return keep; });
}

void expect_corrupt(const std::string& bytes, const std::vector<std::string>& what,
                    ErrorCode code = ErrorCode::kCorrupt) {
  std::vector<std::string> parts = {kPath};
  parts.insert(parts.end(), what.begin(), what.end());
  expect_error(code, parts, [&] { parse(bytes); });
}

std::string value(auto number) { return GgufBytes().number(number).bytes(); }

TEST(GgufHeader, ReadsEveryTypeOfValue) {
  GgufFile file;
  file.key("u8", 0, value<uint8_t>(255)).key("i8", 1, value<int8_t>(-128));
  file.key("u16", 2, value<uint16_t>(65535)).key("i16", 3, value<int16_t>(-2));
  file.key("u32", 4, value<uint32_t>(4294967295)).key("i32", 5, value<int32_t>(-3));
  file.key("f32", 6, value(0.5f)).key("bool", 7, value<uint8_t>(1)).text("text", "a\xff");
  file.key("u64", 10, value(~uint64_t{0})).key("i64", 11, value(int64_t{-4}));
  file.key("f64", 12, value(0.1)).i32s("i32s", {1, -1}).texts("texts", {"", "b"});
  // [[true], []]
  file.key("nested", 9,
           GgufBytes()
               .number<uint32_t>(9)
               .number<uint64_t>(2)
               .number<uint32_t>(7)
               .number<uint64_t>(1)
               .number<uint8_t>(1)
               .number<uint32_t>(0)
               .number<uint64_t>(0)
               .bytes());
  for (const uint32_t version : {2u, 3u}) {
    file.version = version;
    const GgufHeader header = parse(file.bytes());
    EXPECT_EQ(header.version, version);
    const nlohmann::json& m = header.metadata;
    EXPECT_EQ(m.at("u8"), 255);
    EXPECT_EQ(m.at("i8"), -128);
    EXPECT_EQ(m.at("u16"), 65535);
    EXPECT_EQ(m.at("i16"), -2);
    EXPECT_EQ(m.at("u32"), 4294967295);
    EXPECT_EQ(m.at("i32"), -3);
    EXPECT_EQ(m.at("f32"), 0.5);
    EXPECT_EQ(m.at("bool"), true);
    EXPECT_EQ(m.at("text"), "a\xff");
    EXPECT_EQ(m.at("u64"), ~uint64_t{0});
    EXPECT_EQ(m.at("i64"), -4);
    EXPECT_EQ(m.at("f64"), 0.1);
    EXPECT_EQ(m.at("i32s"), (nlohmann::json{1, -1}));
    EXPECT_EQ(m.at("texts"), (nlohmann::json{"", "b"}));
    EXPECT_EQ(m.at("nested"), nlohmann::json::parse("[[true],[]]"));
  }
  const GgufHeader without = parse(file.bytes(), false);
  EXPECT_FALSE(without.metadata.contains("i32s"));
  EXPECT_FALSE(without.metadata.contains("texts"));
  EXPECT_FALSE(without.metadata.contains("nested"));
  EXPECT_EQ(without.metadata.at("f64"), 0.1);
}

TEST(GgufHeader, ReadsTensors) {
  GgufFile file;
  file.alignment = 64;
  file.u32("general.alignment", 64);
  file.tensor("m", {64, 3, 2}, 8, std::string(2 * 3 * 68, 'q'));
  file.tensor("v", {5}, 0, std::string(20, 'v'));
  const std::string bytes = file.bytes();
  const GgufHeader header = parse(bytes);
  ASSERT_EQ(header.tensors.size(), 2u);
  EXPECT_EQ(header.data_offset % 64, 0u);
  const TensorInfo& m = header.tensors[0];
  EXPECT_EQ(m.name, "m");
  EXPECT_EQ(m.shape, (std::vector<int64_t>{2, 3, 64}));
  EXPECT_EQ(m.dtype, DType::kOther);
  EXPECT_EQ(m.dtype_name, "Q8_0");
  EXPECT_EQ(m.extent.file, 3);
  EXPECT_EQ(bytes.substr(m.extent.offset, m.extent.bytes), std::string(408, 'q'));
  const TensorInfo& v = header.tensors[1];
  EXPECT_EQ(v.dtype, DType::kF32);
  EXPECT_EQ(v.shape, std::vector<int64_t>{5});
  EXPECT_EQ(bytes.substr(v.extent.offset, v.extent.bytes), std::string(20, 'v'));
  // The last tensor's padding may be cut off.
  EXPECT_NO_THROW(parse(bytes.substr(0, v.extent.offset + 20)));
}

TEST(GgufHeader, ReadsWhatLiesInManyWindows) {
  GgufFile file;
  const std::string long_text(3 << 20, 'x');
  file.texts("skipped", std::vector<std::string>(100000, "some token")).text("text", long_text);
  file.u32("last", 7);
  EXPECT_EQ(parse(file.bytes()).metadata.at("skipped").size(), 100000u);
  const GgufHeader header = parse(file.bytes(), false);
  EXPECT_EQ(header.metadata.at("last"), 7);
  EXPECT_EQ(header.metadata.at("text"), long_text);
  const TempFolder folder;
  folder.write("x.gguf", file.bytes());
  EXPECT_EQ(read_gguf_header(folder.file("x.gguf"), 0, [](std::string_view) { return false; })
                .metadata.at("last"),
            7);
}

TEST(GgufHeader, RefusesOtherFiles) {
  expect_corrupt("", {"not a GGUF file"});
  expect_corrupt("GGU", {"not a GGUF file"});
  expect_corrupt("PK\3\4aaaaaaaaaaaaaaaaaaaaa", {"at byte 0", "not a GGUF file"});
  GgufFile file;
  file.version = 1;
  expect_corrupt(file.bytes(), {"version 1", "convert the model again"}, ErrorCode::kUnsupported);
  file.version = 4;
  expect_corrupt(file.bytes(), {"version 4"}, ErrorCode::kUnsupported);
  file.version = 0x03000000;
  expect_corrupt(file.bytes(), {"big-endian"}, ErrorCode::kUnsupported);
}

TEST(GgufHeader, RefusesEveryCut) {
  GgufFile file;
  file.text("general.architecture", "x").texts("list", {"a", "b"}).u32("n", 1);
  file.tensor("t", {4, 2}, 0, std::string(32, 't'));
  const std::string bytes = file.bytes();
  for (size_t n = 0; n < bytes.size(); ++n) {
    EXPECT_THROW(parse(bytes.substr(0, n)), Error) << n;
    EXPECT_THROW(parse(bytes.substr(0, n), false), Error) << n;
  }
  expect_corrupt(bytes.substr(0, bytes.size() - 1), {"tensor \"t\"", "download did not finish"});
  expect_corrupt(file.header().substr(0, 120), {"ends at byte 120", "download did not finish"});
}

TEST(GgufHeader, RefusesCountsThatCannotBe) {
  const auto counts = [](uint64_t tensors, uint64_t keys) {
    return "GGUF" + GgufBytes().number<uint32_t>(3).number(tensors).number(keys).bytes() +
           std::string(1000, '\0');
  };
  expect_corrupt(counts(1000, 0), {"at byte 8", "1000 tensors", "room"});
  expect_corrupt(counts(0, 1000), {"at byte 16", "1000 keys", "room"});
  expect_corrupt(counts(~uint64_t{0}, 0), {"18446744073709551615 tensors", "1048576 allowed"});
}

TEST(GgufHeader, RefusesBadValues) {
  const auto with = [](uint32_t type, const std::string& bytes) {
    return GgufFile().key("k", type, bytes).bytes() + std::string(64, '\0');
  };
  expect_corrupt(with(13, ""), {"13 is no type"});
  expect_corrupt(with(7, value<uint8_t>(2)), {"neither true nor false"});
  expect_corrupt(with(8, value(uint64_t{1} << 27)), {"134217728 bytes", "longer"});
  expect_corrupt(with(8, value(uint64_t{5000})), {"download did not finish"});
  expect_corrupt(with(9, value<uint32_t>(13) + value<uint64_t>(0)), {"13 is no type"});
  expect_corrupt(with(9, value<uint32_t>(4) + value(~uint64_t{0})), {"longer than the file"});
  std::string nested = value<uint32_t>(0) + value<uint64_t>(0);
  for (int i = 0; i < 4; ++i) nested = value<uint32_t>(9) + value<uint64_t>(1) + nested;
  expect_corrupt(with(9, nested), {"nested too deeply"});
  expect_corrupt(GgufFile().u32("k", 1).u32("k", 2).bytes(), {"key \"k\" comes twice"});
  for (const uint32_t alignment : {0u, 24u, 1u << 21}) {
    expect_corrupt(GgufFile().u32("general.alignment", alignment).bytes(), {"power of two"});
  }
  expect_corrupt(GgufFile().text("general.alignment", "32").bytes(), {"power of two"});
}

TEST(GgufHeader, RefusesBadTensors) {
  const auto with = [](const std::vector<uint64_t>& dims, uint32_t type, uint64_t offset = 0) {
    return GgufFile().tensor_at("t", dims, type, offset).data(std::string(256, '\0')).bytes();
  };
  EXPECT_NO_THROW(parse(with({4, 1, 1, 1}, 0)));
  expect_corrupt(with({}, 0), {"tensor \"t\"", "0 dimensions"});
  expect_corrupt(with({1, 1, 1, 1, 1}, 0), {"5 dimensions"});
  expect_corrupt(with({4, 0}, 0), {"a dimension of 0"});
  expect_corrupt(with({~uint64_t{0}}, 0), {"a dimension of 18446744073709551615"});
  expect_corrupt(with({uint64_t{1} << 40, uint64_t{1} << 40}, 0), {"overflows"});
  expect_corrupt(with({16}, 2), {"no multiple of the type's blocks of 32"});
  expect_corrupt(with({128}, 12), {"Q4_K [128]", "blocks of 256"});
  for (const uint32_t type : {4u, 5u, 31u, 33u, 36u, 38u, 1000u}) {
    expect_corrupt(with({32}, type), {"tensor \"t\"", "type " + std::to_string(type)},
                   ErrorCode::kUnsupported);
  }
  expect_corrupt(with({4}, 0, 32), {"the data before ends at"});
  expect_corrupt(with({4}, 0, ~uint64_t{0} - 31), {"the data before ends at"});
  expect_corrupt(with({1000}, 0), {"4000 bytes", "download did not finish"});
  expect_corrupt(GgufFile().tensor("t", {1}, 0, "aaaa").tensor("t", {1}, 0, "aaaa").bytes(),
                 {"tensor \"t\" comes twice"});
}

TEST(GgufHeader, RefusesOverlapsAndHoles) {
  const auto two = [](uint64_t a, uint64_t b) {
    return GgufFile()
        .tensor_at("a", {10}, 0, a)
        .tensor_at("b", {10}, 0, b)
        .data(std::string(128, '\0'))
        .bytes();
  };
  EXPECT_NO_THROW(parse(two(0, 64)));
  EXPECT_NO_THROW(parse(two(64, 0)));
  expect_corrupt(two(0, 32), {"tensor \"b\"", "overlap those of \"a\""});
  expect_corrupt(two(0, 0), {"overlap"});
  expect_corrupt(two(0, 40), {"overlap"});  // within the padding
  expect_corrupt(two(0, 96), {"tensor \"b\"", "the data before ends at"});
}

}  // namespace
}  // namespace flashmoe::format
