// A model's Markdown on a terminal, as it streams in: headings, lists, quotes, tables, code with a
// background, and what inline_style.h does within a line. Owns what is held back until it is clear
// what it is: the beginning of a line, and tables. Libraries that parse Markdown want whole blocks,
// and an answer must appear word by word.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "terminal/inline_style.h"
#include "terminal/wrapped_line.h"

namespace flashmoe::terminal {

class MarkdownPrinter {
 public:
  // `width`: columns of the terminal.
  MarkdownPrinter(int width, TextSink sink);

  void put(std::string_view text);  // valid UTF-8; any control characters but newlines are dropped
  void end();                       // of the answer: what is held back, and a last newline

 private:
  enum class Line {
    kStart,  // it is not yet clear what it is
    kText,   // its text goes through style_
    kCode,   // within a fence
    kHeld,   // held to its end: a fence, a table's row
  };

  void put_in_line(std::string_view text);
  void end_line();
  bool classify(bool whole);  // of a line that starts with line_text_
  void begin_text(std::string_view prefix, int prefix_width, std::string_view base, size_t skip);
  void print_code_line();
  void flush_table();

  int width_;
  TextSink sink_;
  WrappedLine wrapped_;
  InlineStyle style_;
  Line line_ = Line::kStart;
  std::string line_text_;           // of the line so far, in kStart, kCode and kHeld
  std::string fence_;               // that closes the code we are in; empty: no code
  std::vector<std::string> table_;  // lines that are, or may become, a table
};

}  // namespace flashmoe::terminal
