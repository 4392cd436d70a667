#include "terminal/markdown_printer.h"

#include <fmt/format.h>

#include <algorithm>

#include "terminal/table.h"
#include "terminal/text_width.h"

namespace flashmoe::terminal {

namespace {

constexpr std::string_view kReset = "\x1b[0m", kDim = "\x1b[2m", kHeading = "\x1b[1;35m",
                           kCodeBlock = "\x1b[48;5;236m\x1b[38;5;252m", kToLineEnd = "\x1b[K";
constexpr size_t kLongestMarker = 12;  // bytes of a list's number and what follows it

bool is_digit(char c) { return c >= '0' && c <= '9'; }

// ``` or ~~~ of a line without its indent; empty when there is none.
std::string_view fence_of(std::string_view text) {
  for (const char mark : {'`', '~'}) {
    const size_t marks = std::min(text.find_first_not_of(mark), text.size());
    if (marks >= 3) return text.substr(0, marks);
  }
  return {};
}

bool is_rule(std::string_view text) {
  if (text.empty() || std::string_view("-*_").find(text[0]) == std::string_view::npos) return false;
  return std::count(text.begin(), text.end(), text[0]) >= 3 &&
         text.find_first_not_of(std::string{text[0], ' '}) == std::string_view::npos;
}

}  // namespace

MarkdownPrinter::MarkdownPrinter(int width, TextSink sink)
    : width_(std::max(width, 20)),
      sink_(std::move(sink)),
      wrapped_(width_, sink_),
      style_(wrapped_) {}

void MarkdownPrinter::put(std::string_view text) {
  while (!text.empty()) {
    const size_t newline = std::min(text.find('\n'), text.size());
    put_in_line(text.substr(0, newline));
    if (newline == text.size()) return;
    end_line();
    text.remove_prefix(newline + 1);
  }
}

void MarkdownPrinter::end() {
  if (line_ != Line::kStart || !line_text_.empty()) end_line();
  flush_table();
  fence_.clear();
}

void MarkdownPrinter::put_in_line(std::string_view raw) {
  std::string text(raw);
  std::erase_if(text, [](char c) {
    return c != '\t' && (static_cast<unsigned char>(c) < 0x20 || c == '\x7f');
  });
  if (line_ == Line::kText) {
    style_.put(text);
    return;
  }
  line_text_ += text;
  if (line_ == Line::kStart && !text.empty()) classify(false);
}

// Lines of code and of tables are drawn whole; others begin as soon as it is clear what they are.
bool MarkdownPrinter::classify(bool whole) {
  if (!fence_.empty()) {
    line_ = Line::kCode;
    return true;
  }
  const size_t indent = std::min(line_text_.find_first_not_of(" \t"), line_text_.size());
  const std::string_view text = std::string_view(line_text_).substr(indent);
  if (text.empty()) return false;
  const int margin = static_cast<int>(std::min<size_t>(indent, 12));
  const std::string space(static_cast<size_t>(margin), ' ');
  if (text[0] == '|') {
    line_ = Line::kHeld;
    return true;
  }
  if (text[0] == '`' || text[0] == '~') {
    if (text.size() < 3 && !whole) return false;
    if (!fence_of(text).empty()) {
      line_ = Line::kHeld;
      return true;
    }
  }
  if (text[0] == '#') {
    const size_t level = std::min(text.find_first_not_of('#'), text.size());
    if (level == text.size() && !whole) return false;
    if (level <= 6 && level < text.size() && text[level] == ' ') {
      begin_text("", 0, kHeading, indent + level + 1);
      return true;
    }
  }
  if (text[0] == '>') {
    if (text.size() < 2 && !whole) return false;
    const size_t skip = text.size() > 1 && text[1] == ' ' ? 2 : 1;
    begin_text(fmt::format("{}{}│{} ", space, kDim, kReset), margin + 2, kDim, indent + skip);
    return true;
  }
  // A line of - * _ and spaces may be a rule as long as nothing else is in it.
  const bool bullet = std::string_view("-*+").find(text[0]) != std::string_view::npos;
  if (std::string_view("-*_").find(text[0]) != std::string_view::npos &&
      text.find_first_not_of(std::string{text[0], ' '}) == std::string_view::npos) {
    if (!whole) return false;
    if (is_rule(text)) {
      line_ = Line::kHeld;
      return true;
    }
  }
  if (bullet && text.size() > 1 && text[1] == ' ') {
    begin_text(space + "• ", margin + 2, "", indent + 2);
    return true;
  }
  if (is_digit(text[0])) {
    const size_t digits = std::min(text.find_first_not_of("0123456789"), text.size());
    if (digits + 1 >= text.size() && digits < kLongestMarker && !whole) return false;
    if (digits + 1 < text.size() && (text[digits] == '.' || text[digits] == ')') &&
        text[digits + 1] == ' ') {
      const std::string marker(text.substr(0, digits + 2));
      begin_text(space + marker, margin + static_cast<int>(marker.size()), "",
                 indent + marker.size());
      return true;
    }
  }
  begin_text(space, margin, "", indent);
  return true;
}

void MarkdownPrinter::begin_text(std::string_view prefix, int prefix_width, std::string_view base,
                                 size_t skip) {
  flush_table();
  line_ = Line::kText;
  wrapped_.begin(prefix, prefix_width);
  style_.begin(base);
  style_.put(std::string_view(line_text_).substr(skip));
  line_text_.clear();
}

void MarkdownPrinter::end_line() {
  if (line_ == Line::kStart && !line_text_.empty()) classify(true);
  switch (line_) {
    case Line::kText:
      style_.end();
      wrapped_.end();
      break;
    case Line::kCode:
      print_code_line();
      break;
    case Line::kStart:
      if (fence_.empty()) {
        flush_table();
        sink_("\n");
      } else {
        print_code_line();
      }
      break;
    case Line::kHeld: {
      const size_t indent = line_text_.find_first_not_of(" \t");
      const std::string_view text = std::string_view(line_text_).substr(indent);
      if (text[0] == '|') {
        table_.push_back(line_text_);
        break;
      }
      flush_table();
      if (const std::string_view fence = fence_of(text); !fence.empty()) {
        fence_ = fence;
        std::string_view language = text.substr(fence.size());
        language.remove_prefix(std::min(language.find_first_not_of(' '), language.size()));
        sink_(fmt::format("{}{} {}{}{}\n", kCodeBlock, kDim, language, kToLineEnd, kReset));
      } else {
        std::string rule;
        for (int i = 0; i < width_; ++i) rule += "─";
        sink_(fmt::format("{}{}{}\n", kDim, rule, kReset));
      }
      break;
    }
  }
  line_text_.clear();
  line_ = Line::kStart;
}

void MarkdownPrinter::print_code_line() {
  const size_t indent = std::min(line_text_.find_first_not_of(" \t"), line_text_.size());
  const std::string_view text = std::string_view(line_text_).substr(indent);
  if (text.starts_with(fence_) && text.find_first_not_of(fence_[0]) == std::string_view::npos) {
    fence_.clear();
    return;
  }
  sink_(fmt::format("{} {}{}{}\n", kCodeBlock, line_text_, kToLineEnd, kReset));
}

void MarkdownPrinter::flush_table() {
  if (table_.size() >= 2 && is_table_rule(table_[1])) {
    sink_(draw_table(table_, width_));
  } else {
    for (const std::string& row : table_) sink_(row + "\n");
  }
  table_.clear();
}

}  // namespace flashmoe::terminal
