#include "terminal/wrapped_line.h"

#include "terminal/text_width.h"
#include "text/utf8.h"

namespace flashmoe::terminal {

void WrappedLine::begin(std::string_view prefix, int prefix_width) {
  sink_(prefix);
  indent_ = column_ = prefix_width;
}

void WrappedLine::put(std::string_view text) {
  for (size_t pos = 0; pos < text.size();) {
    const size_t bytes = text::utf8_length(static_cast<unsigned char>(text[pos]));
    if (text[pos] == ' ' || text[pos] == '\t') {
      flush_word();
      ++spaces_;
    } else {
      word_.append(text, pos, bytes);
      word_width_ += code_point_width(text::utf8_decode(text, pos));
      // Scripts without spaces, and words wider than the terminal, are broken where they end.
      if (indent_ + word_width_ >= width_) flush_word();
    }
    pos += bytes;
  }
}

void WrappedLine::put_escape(std::string_view escape) { word_ += escape; }

void WrappedLine::flush_word() {
  if (word_.empty()) return;
  if (column_ + spaces_ + word_width_ > width_ && column_ > indent_) {
    sink_("\n");
    sink_(std::string(static_cast<size_t>(indent_), ' '));
    column_ = indent_;
    spaces_ = 0;
  }
  sink_(std::string(static_cast<size_t>(spaces_), ' '));
  sink_(word_);
  column_ += spaces_ + word_width_;
  word_.clear();
  spaces_ = word_width_ = 0;
}

void WrappedLine::end() {
  flush_word();
  spaces_ = 0;
  sink_("\n");
}

}  // namespace flashmoe::terminal
