#include "text/reasoning.h"

#include <gtest/gtest.h>

namespace flashmoe::text {
namespace {

struct Split {
  std::string reasoning, answer;
  bool operator==(const Split&) const = default;
};

// Fed in pieces of `size` bytes.
Split split(std::string_view text, bool inside, size_t size) {
  ReasoningSplitter splitter(inside);
  Split result;
  const auto add = [&](const std::vector<ReasoningSplitter::Piece>& pieces) {
    for (const auto& piece : pieces) {
      EXPECT_FALSE(piece.text.empty());
      (piece.is_reasoning ? result.reasoning : result.answer) += piece.text;
    }
  };
  for (; !text.empty(); text.remove_prefix(std::min(size, text.size()))) {
    add(splitter.push(text.substr(0, size)));
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
      {"<think>\nhm\n\nwell\n</think>\n\nYes.\n", false, {"hm\n\nwell", "Yes.\n"}},
      {"hm\n</think>\n\nYes.", true, {"hm", "Yes."}},
      {"\n \n<think>a</think>b", false, {"a", "b"}},
      {"<think>\n\n</think>\n\nYes.", false, {"", "Yes."}},
      {"Yes, <think> is a tag</think>.", false, {"", "Yes, <think> is a tag</think>."}},
      {"<thin", false, {"", "<thin"}},
      {"  ", false, {"", "  "}},
      {"cut off </thi", true, {"cut off </thi", ""}},
      {"a < b <</think>c", true, {"a < b <", "c"}},
      {"a</think>b</think>c", true, {"a", "b</think>c"}},
      {"cut off\n", true, {"cut off\n", ""}},
      {"", true, {"", ""}},
  };
  for (const auto& c : cases) {
    for (size_t size = 1; size <= c.text.size() + 1; ++size) {
      EXPECT_EQ(split(c.text, c.inside, size), c.want) << c.text << " by " << size;
    }
  }
}

TEST(Reasoning, PromptMayOpenIt) {
  EXPECT_TRUE(ends_in_reasoning("<|im_start|>assistant\n<think>\n"));
  EXPECT_FALSE(ends_in_reasoning("<|im_start|>assistant\n<think>\n\n</think>\n\n"));
  EXPECT_FALSE(ends_in_reasoning("what is <think>?<|im_end|>\n<|im_start|>assistant\n"));
}

}  // namespace
}  // namespace flashmoe::text
