// Text as it streams in, broken between words at the terminal's width. Owns the column and the word
// that is not yet certain to fit.
#pragma once

#include <functional>
#include <string>
#include <string_view>

namespace flashmoe::terminal {

using TextSink = std::function<void(std::string_view text)>;

class WrappedLine {
 public:
  WrappedLine(int width, TextSink sink) : width_(width), sink_(std::move(sink)) {}

  // Begins a line with `prefix` (may hold escape sequences; `prefix_width` columns); lines that are
  // broken go on after as many spaces.
  void begin(std::string_view prefix, int prefix_width);
  void put(std::string_view text);           // valid UTF-8 without newlines
  void put_escape(std::string_view escape);  // takes no column
  void end();                                // writes what is held back, and a newline

 private:
  void flush_word();

  int width_;
  TextSink sink_;
  int indent_ = 0, column_ = 0;
  std::string word_;  // with its escape sequences
  int word_width_ = 0;
  int spaces_ = 0;  // before the word, dropped where the line is broken
};

}  // namespace flashmoe::terminal
