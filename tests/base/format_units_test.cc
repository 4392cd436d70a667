#include "base/format_units.h"

#include <gtest/gtest.h>

#include "base/error.h"

namespace flashmoe {
namespace {

TEST(FormatUnitsTest, ParsesSizes) {
  EXPECT_EQ(parse_size("0"), 0u);
  EXPECT_EQ(parse_size("1000"), 1000u);
  EXPECT_EQ(parse_size("10B"), 10u);
  EXPECT_EQ(parse_size("16GiB"), uint64_t{16} << 30);
  EXPECT_EQ(parse_size("16 GiB"), uint64_t{16} << 30);
  EXPECT_EQ(parse_size("512M"), uint64_t{512} << 20);
  EXPECT_EQ(parse_size("512mb"), uint64_t{512} << 20);
  EXPECT_EQ(parse_size("1.5g"), uint64_t{3} << 29);
  EXPECT_EQ(parse_size(".5k"), 512u);
  EXPECT_EQ(parse_size("2."), 2u);
  EXPECT_EQ(parse_size("3T"), uint64_t{3} << 40);
}

TEST(FormatUnitsTest, RefusesWhatIsNoSize) {
  for (const char* text : {"", " ", ".", "G", "-1", "+1", "1e9", "1.2.3", "12 parrots", "1GiBs",
                           "1Bi", "1i", "1  G", "1G ", "0x10", "nan", "99999999999T", "1P"}) {
    try {
      parse_size(text);
      ADD_FAILURE() << "'" << text << "' was taken for a size";
    } catch (const Error& e) {
      EXPECT_EQ(e.code(), ErrorCode::kUsage);
      EXPECT_NE(std::string(e.what()).find(text), std::string::npos);
    }
  }
}

TEST(FormatUnitsTest, FormatsBytes) {
  EXPECT_EQ(format_bytes(0), "0 bytes");
  EXPECT_EQ(format_bytes(1), "1 byte");
  EXPECT_EQ(format_bytes(1023), "1023 bytes");
  EXPECT_EQ(format_bytes(1024), "1 KiB");
  EXPECT_EQ(format_bytes(uint64_t{3} << 29), "1.5 GiB");
  EXPECT_EQ(format_bytes((uint64_t{1} << 20) - 1), "1 MiB");
  EXPECT_EQ(format_bytes(uint64_t{640} << 20), "640 MiB");
  EXPECT_EQ(format_bytes(uint64_t{100} << 10), "100 KiB");
  EXPECT_EQ(format_bytes((uint64_t{12} << 30) + (uint64_t{300} << 20)), "12.3 GiB");
  EXPECT_EQ(format_bytes(~uint64_t{0}), "16 EiB");
}

}  // namespace
}  // namespace flashmoe
