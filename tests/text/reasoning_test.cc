#include "text/reasoning.h"

#include <gtest/gtest.h>

namespace flashmoe::text {
namespace {

struct Split {
  std::string reasoning, answer;
  bool operator==(const Split&) const = default;
};

// Fed in pieces of `size` bytes; '[' and ']' stand for the markers where they are allowed.
Split split(std::string_view text, bool inside, size_t size) {
  ReasoningSplitter splitter(inside);
  Split result;
  const auto add = [&](const std::vector<ReasoningSplitter::Piece>& pieces) {
    for (const auto& piece : pieces) {
      EXPECT_FALSE(piece.text.empty());
      (piece.is_reasoning ? result.reasoning : result.answer) += piece.text;
    }
  };
  while (!text.empty()) {
    if (text[0] == '[' && splitter.may_open()) {
      splitter.open();
      text.remove_prefix(1);
    } else if (text[0] == ']' && splitter.inside()) {
      splitter.close();
      text.remove_prefix(1);
    } else {
      const std::string_view piece = text.substr(0, std::min(size, text.find_first_of("[]", 1)));
      add(splitter.push(piece));
      text.remove_prefix(piece.size());
    }
  }
  add(splitter.finish());
  return result;
}

TEST(Reasoning, EveryCutGivesTheSame) {
  const struct {
    std::string_view text;
    bool inside;
    Split want;
  } cases[] = {
      {"[\nhm\n\nwell\n]\n\nYes.\n", false, {"hm\n\nwell", "Yes.\n"}},
      {"hm\n]\n\nYes.", true, {"hm", "Yes."}},
      {"\n \n[a]b", false, {"a", "b"}},
      {"[\n\n]\n\nYes.", false, {"", "Yes."}},
      {"Yes, [ is a tag].", false, {"", "Yes, [ is a tag]."}},
      {"  ", false, {"", "  "}},
      {"a [ b ]c", true, {"a [ b ", "c"}},
      {"a]b]c[d", true, {"a", "b]c[d"}},
      {"cut off\n", true, {"cut off\n", ""}},
      {"a]\n\n", true, {"a", ""}},
      {"a </think> b]c </think>", true, {"a </think> b", "c </think>"}},
      {"<think>a</think>b", false, {"", "<think>a</think>b"}},
      {"", true, {"", ""}},
  };
  for (const auto& c : cases) {
    for (size_t size = 1; size <= c.text.size() + 1; ++size) {
      EXPECT_EQ(split(c.text, c.inside, size), c.want) << c.text << " by " << size;
    }
  }
}

TEST(Reasoning, SaysWhatComesNext) {
  ReasoningSplitter splitter(false);
  EXPECT_TRUE(splitter.may_open());
  splitter.push("\n");
  splitter.open();
  EXPECT_TRUE(splitter.inside());
  splitter.close();
  splitter.push("\n\n");
  EXPECT_TRUE(splitter.before_answer());
  splitter.push("\na");
  EXPECT_FALSE(splitter.before_answer() || splitter.inside() || splitter.may_open());
}

}  // namespace
}  // namespace flashmoe::text
