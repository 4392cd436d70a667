#include "base/npy.h"

#include <gtest/gtest.h>

#include <array>

#include "base/error.h"
#include "tests/base/temp_folder.h"

namespace flashmoe {
namespace {

// Lays a file out by hand.
std::string npy(std::string_view header, std::string_view data) {
  std::string bytes("\x93NUMPY\x01\x00", 8);
  bytes += static_cast<char>(header.size() & 0xff);
  bytes += static_cast<char>(header.size() >> 8);
  return bytes + std::string(header) + std::string(data);
}

constexpr char kEight[] = "\x01\0\0\0\xff\xff\xff\xff";
const std::string_view kData(kEight, 8);

TEST(NpyTest, WritesWhatNumpyWrites) {
  const TempFolder folder;
  NpyWriter writer(folder.file("a.npy"), 2, 3);
  writer.write_row(std::array{1.0f, 2.0f, -0.5f});
  writer.write_row(std::array{0.0f, 1e30f, 4.0f});
  writer.finish();
  const std::string bytes = folder.read("a.npy");
  // numpy.save of the same array gives these 128 bytes before the numbers.
  const std::string header = "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }";
  ASSERT_EQ(bytes.size(), 128u + 24u);
  EXPECT_EQ(bytes.substr(0, 10), std::string("\x93NUMPY\x01\x00\x76\x00", 10));
  EXPECT_EQ(bytes.substr(10, 118), header + std::string(117 - header.size(), ' ') + "\n");

  const NpyArray array = read_npy(folder.file("a.npy"));
  EXPECT_EQ(array.shape, (std::vector<int64_t>{2, 3}));
  EXPECT_EQ(std::get<std::vector<float>>(array.values),
            (std::vector<float>{1, 2, -0.5f, 0, 1e30f, 4}));
}

TEST(NpyTest, HeaderIsPaddedForAnyShape) {
  const TempFolder folder;
  for (const int64_t cols : {int64_t{0}, int64_t{151936}, int64_t{1} << 50}) {
    NpyWriter writer(folder.file("a.npy"), 0, cols);
    writer.finish();
    EXPECT_EQ(folder.read("a.npy").size() % 64, 0u);
    EXPECT_EQ(read_npy(folder.file("a.npy")).shape, (std::vector<int64_t>{0, cols}));
  }
}

TEST(NpyTest, UnfinishedLeavesNoFile) {
  const TempFolder folder;
  {
    NpyWriter writer(folder.file("a.npy"), 2, 1);
    writer.write_row(std::array{1.0f});
  }
  EXPECT_TRUE(std::filesystem::is_empty(folder.path()));
}

TEST(NpyDeathTest, FinishNeedsEveryRow) {
  const TempFolder folder;
  NpyWriter writer(folder.file("a.npy"), 2, 1);
  EXPECT_DEATH(writer.finish(), "rows_left_ == 0");
  EXPECT_DEATH(writer.write_row({}), "row.size");
}

TEST(NpyTest, ParsesTypesAndShapes) {
  const auto ints =
      parse_npy(npy("{'descr': '<i4', 'fortran_order': False, 'shape': (2,), }\n", kData), "x");
  EXPECT_EQ(ints.shape, std::vector<int64_t>{2});
  EXPECT_EQ(std::get<std::vector<int32_t>>(ints.values), (std::vector<int32_t>{1, -1}));
  const auto scalar =
      parse_npy(npy("{'descr': '<i8', 'fortran_order': False, 'shape': (), }\n", kData), "x");
  EXPECT_TRUE(scalar.shape.empty());
  EXPECT_EQ(std::get<std::vector<int64_t>>(scalar.values),
            std::vector<int64_t>{static_cast<int64_t>(0xffffffff00000001u)});
  // numpy calls every vector Fortran-ordered too, and writes False; others may write True.
  EXPECT_NO_THROW(
      parse_npy(npy("{'shape': (2,), 'fortran_order': True, 'descr': '<f4'}", kData), "x"));
}

TEST(NpyTest, RefusesWhatIsDamagedOrForeign) {
  const auto code = [](const std::string& bytes) {
    try {
      parse_npy(bytes, "name.npy");
    } catch (const Error& e) {
      EXPECT_NE(std::string(e.what()).find("name.npy"), std::string::npos);
      return e.code();
    }
    ADD_FAILURE() << "accepted: " << bytes;
    return ErrorCode::kCancelled;
  };
  const std::string good = "{'descr': '<f4', 'fortran_order': False, 'shape': (1, 2), }";
  EXPECT_NO_THROW(parse_npy(npy(good, kData), "x"));
  for (const std::string& bytes : {
           std::string(),
           std::string("\x93NUMPY"),
           "PK" + npy(good, kData),
           npy(good, kData).substr(0, 40),
           npy(good, kData.substr(1)),
           npy(good, "12345678901234"),
           npy("{'descr': '<f4', 'fortran_order': False}", kData),
           npy("{'descr': '<f4', 'shape': (2,)}", kData),
           npy("{'fortran_order': False, 'shape': (2,)}", kData),
           npy("{'descr': '<f4', 'fortran_order': False, 'shape': 2}", kData),
           npy("{'descr': '<f4', 'fortran_order': False, 'shape': (2", kData),
           npy("{'descr': '<f4', 'fortran_order': False, 'shape': (-2,)}", kData),
           npy("{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999999999999,)}", kData),
           npy("{'descr': '<f4', 'fortran_order': False, 'shape': (4294967296, 4294967296, 2)}",
               kData),
           npy("{'descr': '<f4', 'fortran_order': False, 'shape': (9223372036854775807, 0)}",
               kData),
           npy("{'descr': '<f4', 'fortran_order': False, 'shape': (" + std::string(99, '1') + ")}",
               kData),
           npy(
               "{'descr': '<f4', 'fortran_order': False, 'shape': (2," +
                   [] {
                     std::string ones;
                     for (int i = 0; i < 40; ++i) ones += "1,";
                     return ones;
                   }() +
                   ")}",
               kData),
       }) {
    EXPECT_EQ(code(bytes), ErrorCode::kCorrupt);
  }
  std::string version3 = npy(good, kData);
  version3[6] = 3;
  EXPECT_EQ(code(version3), ErrorCode::kUnsupported);
  EXPECT_EQ(code(npy("{'descr': '>f4', 'fortran_order': False, 'shape': (2,), }", kData)),
            ErrorCode::kUnsupported);
  EXPECT_EQ(code(npy("{'descr': '<f8', 'fortran_order': False, 'shape': (1,), }", kData)),
            ErrorCode::kUnsupported);
  EXPECT_EQ(code(npy("{'descr': '<f4', 'fortran_order': True, 'shape': (2, 1), }", kData)),
            ErrorCode::kUnsupported);
}

TEST(NpyTest, AMissingFileIsNamed) {
  try {
    read_npy("/nowhere/a.npy");
    FAIL();
  } catch (const Error& e) {
    EXPECT_EQ(e.code(), ErrorCode::kNotFound);
    EXPECT_NE(std::string(e.what()).find("/nowhere/a.npy"), std::string::npos);
  }
}

}  // namespace
}  // namespace flashmoe
