#include "terminal/markdown_printer.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace flashmoe::terminal {
namespace {

std::string print(std::string_view markdown, int width = 40, size_t piece = 1 << 20) {
  std::string out;
  MarkdownPrinter printer(width, [&](std::string_view text) { out += text; });
  for (size_t pos = 0; pos < markdown.size(); pos += piece) {
    printer.put(markdown.substr(pos, piece));
  }
  printer.end();
  return out;
}

// Escape sequences as {1}, resets as {}.
std::string readable(std::string_view markdown, int width = 40) {
  const std::string out = print(markdown, width);
  std::string text;
  for (size_t i = 0; i < out.size(); ++i) {
    if (out[i] != '\x1b') {
      text += out[i];
      continue;
    }
    i += 2;
    std::string code;
    while (out[i] != 'm' && out[i] != 'K') code += out[i++];
    text += out[i] == 'K' ? "{K}" : code == "0" ? "{}" : "{" + code + "}";
  }
  return text;
}

TEST(MarkdownPrinterTest, StylesWithinALine) {
  EXPECT_EQ(readable("a **b c** d\n"), "a {}{1}b c{} d\n");
  EXPECT_EQ(readable("a *b* _c_ ~~d~~"), "a {}{3}b{} {}{3}c{} {}{9}d{}\n");
  EXPECT_EQ(readable("***both***"), "{}{1}{3}both{}\n");
  EXPECT_EQ(readable("run `a *b* c` now"), "run {}{36}a *b* c{} now\n");
  EXPECT_EQ(readable("``a`b``"), "{}{36}a`b{}\n");
}

TEST(MarkdownPrinterTest, LeavesWhatIsNoMark) {
  EXPECT_EQ(readable("2 * 3 * 4 = 24"), "2 * 3 * 4 = 24\n");
  EXPECT_EQ(readable("snake_case_name and a ~ b"), "snake_case_name and a ~ b\n");
  EXPECT_EQ(readable("\\*not\\* \\a"), "*not* \\a\n");
  EXPECT_EQ(readable("[x] and a[1](2"), "[x] and a[1](2\n");
  EXPECT_EQ(readable("#no heading\n1.5 and 3) x"), "#no heading\n1.5 and 3) x\n");
}

TEST(MarkdownPrinterTest, ClosesWhatIsOpenAtTheEndOfALine) {
  EXPECT_EQ(readable("**a\nb"), "{}{1}a{}\nb\n");
}

TEST(MarkdownPrinterTest, Blocks) {
  EXPECT_EQ(readable("## Title\ntext"), "{1;35}Title{}\ntext\n");
  EXPECT_EQ(readable("- a\n  - b\n10. c"), "• a\n  • b\n10. c\n");
  EXPECT_EQ(readable("> said"), "{2}│{} {2}said{}\n");
  EXPECT_EQ(readable("---", 20), "{2}────────────────────{}\n");
  EXPECT_EQ(readable("[label](https://a.b/c)"), "{}{4}label{}{2} (https://a.b/c){}\n");
}

TEST(MarkdownPrinterTest, CodeHasABackgroundAndNoMarkdown) {
  EXPECT_EQ(readable("```python\nx = **y**\n\n```\nafter"),
            "{48;5;236}{38;5;252}{2} python{K}{}\n{48;5;236}{38;5;252} x = **y**{K}{}\n"
            "{48;5;236}{38;5;252} {K}{}\nafter\n");
  EXPECT_EQ(readable("~~~\n```\n~~~\n"),
            "{48;5;236}{38;5;252}{2} {K}{}\n{48;5;236}{38;5;252} ```{K}{}\n");
}

TEST(MarkdownPrinterTest, BreaksBetweenWords) {
  EXPECT_EQ(readable("one two three four five six", 20), "one two three four\nfive six\n");
  EXPECT_EQ(readable("- one two three four five", 20), "• one two three four\n  five\n");
  EXPECT_EQ(readable("aaaaaaaaaaaaaaaaaaaaaaaaa b", 20), "aaaaaaaaaaaaaaaaaaaa\naaaaa b\n");
  EXPECT_EQ(readable("日本語日本語日本語日本語", 20), "日本語日本語日本語日\n本語\n");
}

TEST(MarkdownPrinterTest, Tables) {
  EXPECT_EQ(readable("| a | b |\n|---|---|\n| long cell | **x** |\n\nend"),
            " {1}a{}         │ {1}b{}\n───────────┼───\n long cell │ {}{1}x{}\n\nend\n");
  EXPECT_EQ(readable("| no rule |\n"), "| no rule |\n");
  EXPECT_EQ(readable("| a | b |\n|-|-|\n| 12345678901234567890 | 1 |", 20),
            " {1}a{}              │ {1}b{}\n────────────────┼───\n 1234567890123… │ 1\n");
}

TEST(MarkdownPrinterTest, DropsControlCharacters) {
  EXPECT_EQ(print("a\x1b[31mb\x07"), "a[31mb\n");
}

// However the text is cut into pieces, the same comes out.
TEST(MarkdownPrinterTest, PiecesDoNotMatter) {
  const std::string text =
      "# Head *line*\n\nSome **bold `code` text** and [a link](http://x.y) too.\n\n1. one\n2. two "
      "_three_\n   * deep\n\n```\ncode\n```\n| a | b |\n|:-:|---|\n| 1 | 2 |\n***\n> quote\n- - "
      "x\n";
  const std::string whole = print(text);
  for (size_t piece = 1; piece < 9; ++piece) EXPECT_EQ(print(text, 40, piece), whole) << piece;
}

}  // namespace
}  // namespace flashmoe::terminal
