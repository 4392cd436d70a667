#include "chat/answer_printer.h"

#include <gtest/gtest.h>

#include <string>

namespace flashmoe::chat {
namespace {

std::string print(bool styled, ShowThink show) {
  std::string out;
  AnswerPrinter printer({styled, 80}, show, [&](std::string_view text) { out += text; });
  printer.reasoning("let me ");
  printer.reasoning("see");
  printer.content("a *b*");
  printer.content(" c");
  printer.end();
  return out;
}

TEST(AnswerPrinterTest, ReasoningIsHiddenDimOrShown) {
  EXPECT_EQ(print(false, ShowThink::kHide), "a *b* c\n");
  EXPECT_EQ(print(false, ShowThink::kShow), "let me see\n\na *b* c\n");
  EXPECT_EQ(print(true, ShowThink::kHide),
            "\x1b[2mthinking…\x1b[0m\r\x1b[Ka \x1b[0m\x1b[3mb\x1b[0m c\n");
  EXPECT_EQ(print(true, ShowThink::kDim),
            "\x1b[2mlet me see\x1b[0m\n\na \x1b[0m\x1b[3mb\x1b[0m c\n");
}

TEST(AnswerPrinterTest, EndsTheLineOnce) {
  std::string out;
  AnswerPrinter printer({false, 80}, ShowThink::kHide, [&](std::string_view text) { out += text; });
  printer.content("done\n");
  printer.end();
  EXPECT_EQ(out, "done\n");
}

TEST(AnswerPrinterTest, ModelsCannotSpeakToTheTerminal) {
  std::string out;
  AnswerPrinter printer({true, 80}, ShowThink::kShow, [&](std::string_view text) { out += text; });
  printer.reasoning("a\x1b]0;title\x07");
  printer.end();
  EXPECT_EQ(out, "a]0;title\n\n");
}

}  // namespace
}  // namespace flashmoe::chat
