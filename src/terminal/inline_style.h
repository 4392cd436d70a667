// Markdown within a line, as it streams in: bold, italic, struck out, code and links become escape
// sequences. Owns the marks that are open, and the few bytes whose meaning the next ones decide.
#pragma once

#include <string>
#include <string_view>

#include "terminal/wrapped_line.h"

namespace flashmoe::terminal {

class InlineStyle {
 public:
  explicit InlineStyle(WrappedLine& line) : line_(line) {}

  // What all text of the block looks like, e.g. a heading's escape sequence.
  void begin(std::string_view base);
  void put(std::string_view text);  // valid UTF-8 without newlines
  void end();                       // of the block: closes what is open

 private:
  // Handles the beginning of held_; false when more text is needed to know what it is.
  bool step(bool at_end);
  bool step_code(bool at_end);
  bool step_marks(char mark, bool at_end);
  bool step_link(bool at_end);
  void take_plain(size_t bytes);
  void restyle();

  WrappedLine& line_;
  std::string base_;
  std::string held_;
  bool bold_ = false, italic_ = false, struck_ = false, link_ = false;
  size_t code_marks_ = 0;    // backticks that opened the code we are in; 0: none
  char32_t previous_ = ' ';  // the last character put, ' ' at the beginning
};

}  // namespace flashmoe::terminal
