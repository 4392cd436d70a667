#include "format/safetensors_header.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "tests/format/files.h"

namespace flashmoe::format {
namespace {

using quant::DType;

constexpr const char* kPath = "folder/x.safetensors";

std::vector<TensorInfo> parse(const std::string& json, uint64_t data_bytes) {
  return parse_safetensors_json(json, 8 + json.size() + data_bytes, kPath, 3);
}

// A header of one tensor t.
std::string one(const std::string& dtype, const std::string& shape, const std::string& offsets) {
  return R"({"t":{"dtype":)" + dtype + R"(,"shape":)" + shape + R"(,"data_offsets":)" + offsets +
         "}}";
}

void expect_corrupt(const std::string& json, uint64_t data_bytes, const std::string& tensor,
                    const std::string& what) {
  std::vector<std::string> parts = {kPath, what};
  if (!tensor.empty()) parts.push_back("tensor " + tensor + ": ");
  expect_error(ErrorCode::kCorrupt, parts, [&] { parse(json, data_bytes); });
}

TEST(SafetensorsHeader, ReadsTensorsInOrderOfName) {
  const std::string json =
      R"({"__metadata__":{"format":"pt"},"b":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]},)"
      R"("a":{"dtype":"BF16","shape":[1],"data_offsets":[24,26]},)"
      R"("scalar":{"dtype":"F64","shape":[],"data_offsets":[26,34]},)"
      R"("empty":{"dtype":"U8","shape":[5,0],"data_offsets":[34,34]}}   )";
  const std::vector<TensorInfo> tensors = parse(json, 34);
  ASSERT_EQ(tensors.size(), 4u);
  EXPECT_EQ(tensors[0].name, "a");
  EXPECT_EQ(tensors[0].dtype, DType::kBf16);
  EXPECT_EQ(tensors[0].shape, std::vector<int64_t>{1});
  EXPECT_EQ(tensors[0].extent.file, 3);
  EXPECT_EQ(tensors[0].extent.offset, 8 + json.size() + 24);
  EXPECT_EQ(tensors[0].extent.bytes, 2u);
  EXPECT_EQ(tensors[1].name, "b");
  EXPECT_EQ(tensors[1].shape, (std::vector<int64_t>{2, 3}));
  EXPECT_EQ(tensors[2].extent.bytes, 0u);
  EXPECT_TRUE(tensors[3].shape.empty());
}

TEST(SafetensorsHeader, ListsTypesThatItDoesNotKnow) {
  const TensorInfo fp8 = parse(one(R"("F8_E4M3")", "[4]", "[0,4]"), 4).at(0);
  EXPECT_EQ(fp8.dtype, DType::kF8E4M3);
  const TensorInfo other = parse(one(R"("F4")", "[4]", "[0,2]"), 2).at(0);
  EXPECT_EQ(other.dtype, DType::kOther);
  EXPECT_EQ(other.dtype_name, "F4");
}

TEST(SafetensorsHeader, LengthMustFitTheFile) {
  const auto length = [](std::string prefix, uint64_t file_bytes) {
    return safetensors_json_bytes(prefix, file_bytes, kPath);
  };
  const auto with = [](uint64_t value) {
    std::string prefix(8, '\0');
    for (size_t i = 0; i < 8; ++i) prefix[i] = static_cast<char>(value >> (8 * i));
    return prefix;
  };
  EXPECT_EQ(length(with(92), 100), 92u);
  for (uint64_t bad : {uint64_t{93}, uint64_t{1} << 63, ~uint64_t{0}, ~uint64_t{0} - 7}) {
    expect_error(ErrorCode::kCorrupt, {kPath, std::to_string(bad), "the file has 100"},
                 [&] { length(with(bad), 100); });
  }
  expect_error(ErrorCode::kCorrupt, {kPath, "100000001"},
               [&] { length(with(100'000'001), uint64_t{1} << 40); });
  expect_error(ErrorCode::kCorrupt, {kPath, "7 bytes, too few"}, [&] { length("1234567", 7); });
}

TEST(SafetensorsHeader, RefusesWhatIsNoHeader) {
  expect_corrupt("", 0, "", "not valid JSON");
  expect_corrupt("{", 0, "", "not valid JSON");
  expect_corrupt("[]", 0, "", "not a JSON object");
  expect_corrupt(std::string(100, '['), 0, "", "deeper");
  expect_corrupt(R"({"t":1,"t":2})", 0, "", "\"t\" twice");
  expect_corrupt(R"({"t":{"shape":[],"shape":[]}})", 0, "", "\"shape\" twice");
}

TEST(SafetensorsHeader, RefusesBrokenDescriptions) {
  expect_corrupt(R"({"t":5})", 0, "t", "not a JSON object");
  expect_corrupt(R"({"t":{"shape":[],"data_offsets":[0,0]}})", 0, "t", "no dtype");
  expect_corrupt(R"({"t":{"dtype":"F32","data_offsets":[0,0]}})", 0, "t", "no shape");
  expect_corrupt(R"({"t":{"dtype":"F32","shape":[0]}})", 0, "t", "no data_offsets");
  expect_corrupt(one("7", "[1]", "[0,4]"), 4, "t", "dtype is not a string");
}

TEST(SafetensorsHeader, RefusesBadShapes) {
  expect_corrupt(one(R"("F32")", "4", "[0,4]"), 4, "t", "shape is not a list");
  for (const char* shape : {"[-1]", "[1.0]", "[\"1\"]", "[null]", "[9223372036854775808]",
                            "[18446744073709551616]", "[[1]]"}) {
    expect_corrupt(one(R"("F32")", shape, "[0,4]"), 4, "t", "is not one of sizes");
  }
  expect_corrupt(one(R"("F32")", "[4294967296,4294967296]", "[0,4]"), 4, "t", "overflows");
  expect_corrupt(one(R"("F32")", "[4611686018427387905]", "[0,4]"), 4, "t", "overflows");
  expect_corrupt(one(R"("F4")", "[4294967296,4294967296]", "[0,4]"), 4, "t", "overflows");
  expect_corrupt(one(R"("F32")", "[1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1]", "[0,4]"), 4, "t",
                 "17 dimensions");
}

TEST(SafetensorsHeader, RefusesBadRanges) {
  for (const char* offsets : {"4", "[0]", "[0,4,8]", "[4,0]", "[-4,0]", "[0,4.0]", "[0,\"4\"]",
                              "[0,9223372036854775808]", "[18446744073709551612,4]"}) {
    expect_corrupt(one(R"("F32")", "[1]", offsets), 4, "t", "not a byte range");
  }
  expect_corrupt(one(R"("F32")", "[2]", "[0,4]"), 4, "t", "F32 [2] takes 8 bytes");
  expect_corrupt(one(R"("F32")", "[0]", "[0,4]"), 4, "t", "F32 [0] takes 0 bytes");
  expect_corrupt(one(R"("F32")", "[1]", "[0,4]"), 3, "t", "download did not finish");
  expect_corrupt(one(R"("F32")", "[1]", "[0,9223372036854775807]"), 4, "t",
                 "download did not finish");
}

TEST(SafetensorsHeader, RefusesOverlapsAndHoles) {
  const auto two = [](const std::string& a, const std::string& b) {
    return R"({"a":{"dtype":"U8","shape":[4],"data_offsets":)" + a +
           R"(},"b":{"dtype":"U8","shape":[4],"data_offsets":)" + b + "}}";
  };
  EXPECT_NO_THROW(parse(two("[4,8]", "[0,4]"), 8));
  expect_corrupt(two("[0,4]", "[3,7]"), 7, "b", "overlap those of a");
  expect_corrupt(two("[0,4]", "[0,4]"), 4, "", "overlap those of");
  expect_corrupt(two("[0,4]", "[5,9]"), 9, "b", "belong to no tensor");
  expect_corrupt(two("[1,5]", "[5,9]"), 9, "a", "belong to no tensor");
  expect_corrupt(two("[0,4]", "[4,8]"), 9, "", "last 1 bytes belong to no tensor");
  expect_corrupt("{}", 1, "", "last 1 bytes belong to no tensor");
}

TEST(SafetensorsHeader, ReadsWhatTheSafetensorsLibraryWrote) {
  const std::string folder = std::string(FLASHMOE_SOURCE_DIR) + "/tests/golden/formats/";
  const std::string path = folder + "plain/model.safetensors";
  const auto expected = nlohmann::json::parse(read_file(folder + "plain.json"));
  const std::string data = read_file(path);
  const std::vector<TensorInfo> tensors = read_safetensors_header(path, 0);
  ASSERT_EQ(tensors.size(), expected.size());
  for (const TensorInfo& tensor : tensors) {
    const auto& e = expected.at(tensor.name);
    EXPECT_EQ(tensor.dtype_name, e.at("dtype"));
    EXPECT_STREQ(quant::dtype_name(tensor.dtype), tensor.dtype_name.c_str());
    EXPECT_EQ(tensor.shape, e.at("shape").get<std::vector<int64_t>>());
    EXPECT_EQ(tensor.extent.offset, e.at("offset"));
    EXPECT_EQ(tensor.extent.bytes * 2, e.at("bytes").get<std::string>().size());
  }
}

}  // namespace
}  // namespace flashmoe::format
