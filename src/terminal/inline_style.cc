#include "terminal/inline_style.h"

#include <algorithm>

#include "text/utf8.h"

namespace flashmoe::terminal {

namespace {

constexpr std::string_view kReset = "\x1b[0m", kBold = "\x1b[1m", kDim = "\x1b[2m",
                           kItalic = "\x1b[3m", kUnderlined = "\x1b[4m", kStruck = "\x1b[9m",
                           kCode = "\x1b[36m";
constexpr size_t kLongestLink = 2000;  // bytes; a longer one is printed as it was written

bool is_space(char32_t c) { return c == ' ' || c == '\t'; }
bool is_word(char32_t c) {
  return c >= 0x80 || (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

size_t run_of(std::string_view text, char mark) {
  return std::min(text.find_first_not_of(mark), text.size());
}

}  // namespace

void InlineStyle::begin(std::string_view base) {
  base_ = base;
  bold_ = italic_ = struck_ = link_ = false;
  code_marks_ = 0;
  previous_ = ' ';
  if (!base_.empty()) line_.put_escape(base_);
}

void InlineStyle::put(std::string_view text) {
  held_ += text;
  while (!held_.empty() && step(false)) {
  }
}

void InlineStyle::end() {
  while (!held_.empty()) step(true);
  if (!base_.empty() || bold_ || italic_ || struck_ || code_marks_ > 0) line_.put_escape(kReset);
}

void InlineStyle::restyle() {
  std::string escape(kReset);
  escape += base_;
  if (bold_) escape += kBold;
  if (italic_) escape += kItalic;
  if (struck_) escape += kStruck;
  if (link_) escape += kUnderlined;
  if (code_marks_ > 0) escape += kCode;
  line_.put_escape(escape);
}

void InlineStyle::take_plain(size_t bytes) {
  line_.put(std::string_view(held_).substr(0, bytes));
  previous_ = text::utf8_decode(held_, text::utf8_previous(held_, bytes));
  held_.erase(0, bytes);
}

bool InlineStyle::step(bool at_end) {
  const char first = held_[0];
  if (first == '`') return step_code(at_end);
  if (code_marks_ > 0) {
    take_plain(std::min(held_.find('`'), held_.size()));
    return true;
  }
  if (first == '*' || first == '_' || first == '~') return step_marks(first, at_end);
  if (first == '[' && !link_) return step_link(at_end);
  if (first == '\\') {
    if (held_.size() == 1 && !at_end) return false;
    if (held_.size() > 1 && std::ispunct(static_cast<unsigned char>(held_[1])) != 0) {
      held_.erase(0, 1);
    }
    take_plain(1);
    return true;
  }
  take_plain(std::min(held_.find_first_of("`*_~[\\", 1), held_.size()));
  return true;
}

bool InlineStyle::step_code(bool at_end) {
  const size_t marks = run_of(held_, '`');
  if (marks == held_.size() && !at_end) return false;
  if (code_marks_ == 0) {
    code_marks_ = marks;
  } else if (code_marks_ == marks) {
    code_marks_ = 0;
  } else {
    take_plain(marks);
    return true;
  }
  held_.erase(0, marks);
  restyle();
  previous_ = 'x';
  return true;
}

// A mark opens before a character that is no space, and closes after one; "_" also not within a
// word. Anything else is text.
bool InlineStyle::step_marks(char mark, bool at_end) {
  const size_t marks = run_of(held_, mark);
  if (marks == held_.size() && !at_end) return false;
  const char32_t next = marks < held_.size() ? text::utf8_decode(held_, marks) : ' ';
  const bool opens = !is_space(next) && (mark != '_' || !is_word(previous_));
  const bool closes = !is_space(previous_) && (mark != '_' || !is_word(next));
  const auto toggle = [&](bool* style) {
    if (*style ? !closes : !opens) return false;
    *style = !*style;
    return true;
  };
  bool changed = false;
  if (mark == '~') {
    changed = marks == 2 && toggle(&struck_);
  } else if (marks == 3) {
    changed = toggle(&bold_);
    changed = toggle(&italic_) || changed;
  } else if (marks <= 2) {
    changed = toggle(marks == 2 ? &bold_ : &italic_);
  }
  if (!changed) {
    take_plain(marks);
    return true;
  }
  held_.erase(0, marks);
  restyle();
  return true;
}

// [label](address): the label underlined, the address dim behind it.
bool InlineStyle::step_link(bool at_end) {
  const size_t label_end = held_.find(']');
  const bool may_go_on = !at_end && held_.size() < kLongestLink;
  if (label_end == std::string::npos || label_end + 1 == held_.size()) {
    if (may_go_on) return false;
    take_plain(1);
    return true;
  }
  if (held_[label_end + 1] != '(') {
    take_plain(1);
    return true;
  }
  const size_t address_end = held_.find(')', label_end);
  if (address_end == std::string::npos) {
    if (may_go_on) return false;
    take_plain(1);
    return true;
  }
  const std::string rest = held_.substr(address_end + 1);
  const std::string address = held_.substr(label_end + 2, address_end - label_end - 2);
  held_ = held_.substr(1, label_end - 1);
  link_ = true;
  restyle();
  while (!held_.empty()) step(true);
  link_ = false;
  restyle();
  if (!address.empty()) {
    line_.put_escape(kDim);
    line_.put(" (" + address + ")");
    restyle();
  }
  held_ = rest;
  previous_ = ')';
  return true;
}

}  // namespace flashmoe::terminal
