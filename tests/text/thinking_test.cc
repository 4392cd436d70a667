#include "text/thinking.h"

#include <gtest/gtest.h>

#include "base/error.h"

namespace flashmoe::text {
namespace {

TEST(ThinkingTest, ReadsWordsAndNumbers) {
  EXPECT_EQ(parse_thinking("on", "x"), (Thinking{true, -1}));
  EXPECT_EQ(parse_thinking("off", "x"), (Thinking{false, 0}));
  EXPECT_EQ(parse_thinking("0", "x"), parse_thinking("off", "x"));
  EXPECT_EQ(parse_thinking("1", "x"), (Thinking{true, 1}));
  EXPECT_EQ(parse_thinking("1000000000", "x"), (Thinking{true, 1'000'000'000}));
}

TEST(ThinkingTest, SaysWhatIsPossible) {
  for (const char* words :
       {"", "maybe", "On", "-1", "+1", " 1", "5x", "1.5", "1000000001", "99999999999999999999"}) {
    try {
      parse_thinking(words, "--think");
      ADD_FAILURE() << words;
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::kUsage);
      EXPECT_TRUE(std::string(error.what()).starts_with("--think is on, off or a number"))
          << error.what();
    }
  }
}

}  // namespace
}  // namespace flashmoe::text
