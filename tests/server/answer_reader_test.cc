// From tokens to events.
#include "server/answer_reader.h"

#include <gtest/gtest.h>

#include "engine/text_model.h"

namespace flashmoe::server {
namespace {

class AnswerReaderTest : public testing::Test {
 protected:
  AnswerReaderTest() : text_(std::string(FLASHMOE_SOURCE_DIR) + "/models/tiny") {
    const engine::ThinkBudget think = text_.think_budget(-1);
    rules_.think_open = think.open;
    rules_.think_close = think.close.front();
  }
  std::vector<int32_t> ids(const std::string& text) const { return text_.encode_text(text, true); }
  // A token for each character, so that no marker is one.
  std::vector<int32_t> spelled(const std::string& text) const {
    std::vector<int32_t> tokens;
    for (const char c : text) tokens.push_back(text_.encode_text(std::string(1, c), false).at(0));
    return tokens;
  }
  Choice read(const std::vector<int32_t>& tokens) {
    AnswerReader reader(text_.tokenizer(), rules_, 0);
    Answer answer;
    for (const int32_t token : tokens) {
      for (const Event& event : reader.push({token, 0, {}})) answer.add(event);
    }
    for (const Event& event : reader.finish(engine::FinishReason::kStop)) answer.add(event);
    reasoning_tokens_ = reader.reasoning_tokens();
    return answer.choices.at(0);
  }

  const engine::TextModel text_;
  ReadingRules rules_;
  int64_t reasoning_tokens_ = 0;
};

std::vector<int32_t> operator+(std::vector<int32_t> a, const std::vector<int32_t>& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

TEST_F(AnswerReaderTest, ReasoningIsBetweenTheMarkers) {
  const std::vector<int32_t> tokens = ids("<think>\nA fox.\n</think>\n\nYes.");
  const Choice choice = read(tokens);
  EXPECT_EQ(choice.reasoning, "A fox.");
  EXPECT_EQ(choice.text, "Yes.");
  EXPECT_EQ(reasoning_tokens_, static_cast<int64_t>(ids("<think>\nA fox.\n</think>").size()));
}

TEST_F(AnswerReaderTest, TextThatReadsLikeAMarkerIsNone) {
  rules_.starts_inside = true;
  const std::vector<int32_t> text = spelled("a </think> b");
  const Choice choice = read(text + ids("</think>") + ids("c <think> d"));
  EXPECT_EQ(choice.reasoning, "a </think> b");
  EXPECT_EQ(choice.text, "c <think> d");
  rules_.starts_inside = false;
  EXPECT_EQ(read(spelled("<think>x</think>")).text, "<think>x</think>");
}

// As where a budget ends in the middle of a character.
TEST_F(AnswerReaderTest, ACharacterThatIsCutOffIsTheReasonings) {
  rules_.starts_inside = true;
  std::vector<int32_t> tokens = ids("\xf0\x9f\x90\x99");
  ASSERT_GT(tokens.size(), 1u) << "the tokenizer has this character whole";
  tokens.pop_back();
  const Choice choice = read(tokens + ids("</think>\n\nYes."));
  EXPECT_EQ(choice.reasoning, "\xef\xbf\xbd");
  EXPECT_EQ(choice.text, "Yes.");
}

TEST_F(AnswerReaderTest, StopStringsEndTheAnswerAcrossTokens) {
  rules_.stop = {"stop"};
  AnswerReader reader(text_.tokenizer(), rules_, 0);
  std::string told;
  for (const int32_t token : spelled("<st> sto stop it")) {
    for (const Event& event : reader.push({token, 0, {}})) told += event.text;
    if (reader.stopped()) break;
  }
  EXPECT_TRUE(reader.stopped());
  EXPECT_EQ(told, "<st> sto ");
  EXPECT_EQ(reader.finish(engine::FinishReason::kCancelled).back().stop_string, "stop");
}

}  // namespace
}  // namespace flashmoe::server
