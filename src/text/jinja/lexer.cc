#include "text/jinja/lexer.h"

#include <algorithm>
#include <charconv>
#include <cstdlib>

#include "text/jinja/unicode.h"
#include "text/utf8.h"

namespace flashmoe::text::jinja {
namespace {

bool is_ascii_digit(char c) { return c >= '0' && c <= '9'; }

std::string unify_newlines(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '\r') {
      out += '\n';
      if (i + 1 < text.size() && text[i + 1] == '\n') ++i;
    } else {
      out += text[i];
    }
  }
  return out;
}

class Lexer {
 public:
  Lexer(std::string source, const std::string& name) : name_(name) {
    if (utf8_valid_prefix(source) != source.size()) {
      syntax_error(name, 1, "the template is not valid UTF-8");
    }
    source_ = unify_newlines(source);
    if (!source_.empty() && source_.back() == '\n') source_.pop_back();
  }

  std::vector<Token> run() {
    while (pos_ < source_.size()) lex_root();
    push(Token::kEnd);
    return std::move(tokens_);
  }

 private:
  bool at(std::string_view text) const { return source_.compare(pos_, text.size(), text) == 0; }
  static bool starts(std::string_view source, size_t pos, std::string_view text) {
    return source.compare(pos, text.size(), text) == 0;
  }
  // Advances, counting lines.
  void move_to(size_t pos) {
    line_ += static_cast<int>(std::count(source_.begin() + pos_, source_.begin() + pos, '\n'));
    pos_ = pos;
  }
  size_t skip_space(size_t pos) const {
    while (pos < source_.size() && is_space(utf8_decode(source_, pos))) {
      pos += utf8_length(static_cast<unsigned char>(source_[pos]));
    }
    return pos;
  }
  Token& push(Token::Kind kind, std::string text = {}) {
    Token token;
    token.kind = kind;
    token.line = line_;
    token.text = std::move(text);
    tokens_.push_back(std::move(token));
    return tokens_.back();
  }

  // Emits the data from pos_ to `tag_begin`, without the white space that the tag takes away, and
  // moves behind the tag's opening.
  void push_data(size_t tag_begin, size_t tag_end, char sign, bool is_variable) {
    const std::string_view data = std::string_view(source_).substr(pos_, tag_begin - pos_);
    size_t size = data.size();
    if (sign == '-') {
      while (size > 0) {
        const size_t previous = utf8_previous(data, size);
        if (!is_space(utf8_decode(data, previous))) break;
        size = previous;
      }
    } else if (sign != '+' && !is_variable) {
      const size_t newline = data.rfind('\n');
      const size_t line_begin = newline == std::string_view::npos ? 0 : newline + 1;
      const bool line_starts = pos_ == 0 || source_[pos_ - 1] == '\n';
      if ((line_begin > 0 || line_starts) && skip_space(pos_ + line_begin) >= tag_begin) {
        size = line_begin;
      }
    }
    if (size > 0) push(Token::kData, std::string(data.substr(0, size)));
    move_to(tag_end);
  }

  // Where the raw tag that begins at `tag` ends, or npos if it is another tag.
  size_t raw_end(size_t tag) const {
    size_t pos = tag + 2;
    if (pos < source_.size() && (source_[pos] == '-' || source_[pos] == '+')) ++pos;
    pos = skip_space(pos);
    if (!starts(source_, pos, "raw")) return std::string::npos;
    pos = skip_space(pos + 3);
    if (starts(source_, pos, "-%}")) return skip_space(pos + 3);
    return starts(source_, pos, "%}") ? pos + 2 : std::string::npos;
  }

  void lex_root() {
    size_t tag = pos_;
    while (true) {
      tag = source_.find('{', tag);
      if (tag == std::string::npos) {
        push(Token::kData, source_.substr(pos_));
        move_to(source_.size());
        return;
      }
      const char next = tag + 1 < source_.size() ? source_[tag + 1] : 0;
      if (next == '{' || next == '%' || next == '#') break;
      ++tag;
    }
    const char kind = source_[tag + 1];
    size_t begin = tag + 2;
    char sign = 0;
    if (begin < source_.size() && (source_[begin] == '-' || source_[begin] == '+')) {
      sign = source_[begin++];
    }
    if (kind == '%') {
      const size_t raw = raw_end(tag);
      if (raw != std::string::npos) {
        push_data(tag, raw, sign, false);
        lex_raw();
        return;
      }
    }
    push_data(tag, begin, sign, kind == '{');
    if (kind == '#') {
      lex_comment();
    } else {
      lex_tag(kind == '{');
    }
  }

  // Behind "}" of a tag at `pos`, with the newline that trim_blocks takes.
  size_t trim(size_t pos) const {
    return pos < source_.size() && source_[pos] == '\n' ? pos + 1 : pos;
  }

  void lex_comment() {
    const size_t end = source_.find("#}", pos_);
    if (end == std::string::npos) syntax_error(name_, line_, "missing end of comment tag");
    const char sign = end > pos_ ? source_[end - 1] : 0;
    move_to(sign == '-' ? skip_space(end + 2) : sign == '+' ? end + 2 : trim(end + 2));
  }

  void lex_raw() {
    for (size_t tag = source_.find("{%", pos_); tag != std::string::npos;
         tag = source_.find("{%", tag + 1)) {
      size_t pos = tag + 2;
      char sign = 0;
      if (pos < source_.size() && (source_[pos] == '-' || source_[pos] == '+')) {
        sign = source_[pos++];
      }
      pos = skip_space(pos);
      if (!starts(source_, pos, "endraw")) continue;
      pos = skip_space(pos + 6);
      if (starts(source_, pos, "+%}")) {
        pos += 3;
      } else if (starts(source_, pos, "-%}")) {
        pos = skip_space(pos + 3);
      } else if (starts(source_, pos, "%}")) {
        pos = trim(pos + 2);
      } else {
        continue;
      }
      push_data(tag, pos, sign, false);
      return;
    }
    syntax_error(name_, line_, "missing end of raw directive");
  }

  void lex_tag(bool is_variable) {
    push(is_variable ? Token::kVariableBegin : Token::kBlockBegin);
    std::string brackets;  // the closing ones that are awaited
    while (pos_ < source_.size()) {
      if (brackets.empty()) {
        if (is_variable && (at("}}") || at("-}}"))) {
          const bool strip = source_[pos_] == '-';
          push(Token::kVariableEnd);
          move_to(strip ? skip_space(pos_ + 3) : pos_ + 2);
          return;
        }
        if (!is_variable && (at("%}") || at("-%}") || at("+%}"))) {
          const char sign = source_[pos_];
          push(Token::kBlockEnd);
          move_to(sign == '-' ? skip_space(pos_ + 3) : sign == '+' ? pos_ + 3 : trim(pos_ + 2));
          return;
        }
      }
      const size_t after_space = skip_space(pos_);
      if (after_space > pos_) {
        move_to(after_space);
      } else if (is_ascii_digit(source_[pos_])) {
        lex_number();
      } else if (source_[pos_] == '\'' || source_[pos_] == '"') {
        lex_string();
      } else if (!lex_name()) {
        lex_operator(&brackets);
      }
    }
  }

  // End of digits in groups joined by single underscores; `pos` if there is none.
  template <typename IsDigit>
  size_t digits_end(size_t pos, IsDigit is_digit) const {
    size_t end = pos;
    while (end < source_.size()) {
      if (is_digit(source_[end])) {
        ++end;
      } else if (end > pos && source_[end] == '_' && end + 1 < source_.size() &&
                 is_digit(source_[end + 1])) {
        end += 2;
      } else {
        break;
      }
    }
    return end;
  }

  std::string without_underscores(size_t begin, size_t end) const {
    std::string out = source_.substr(begin, end - begin);
    out.erase(std::remove(out.begin(), out.end(), '_'), out.end());
    return out;
  }

  void lex_number() {
    const size_t integer_end = digits_end(pos_, is_ascii_digit);
    const bool after_dot = pos_ > 0 && source_[pos_ - 1] == '.';
    if (!after_dot) {
      size_t end = integer_end;
      if (end + 1 < source_.size() && source_[end] == '.' && is_ascii_digit(source_[end + 1])) {
        end = digits_end(end + 1, is_ascii_digit);
      }
      if (end < source_.size() && (source_[end] | 0x20) == 'e') {
        size_t exponent = end + 1;
        if (exponent < source_.size() && (source_[exponent] == '+' || source_[exponent] == '-')) {
          ++exponent;
        }
        const size_t exponent_end = digits_end(exponent, is_ascii_digit);
        if (exponent_end > exponent) end = exponent_end;
      }
      if (end > integer_end) {
        push(Token::kFloat).real = std::strtod(without_underscores(pos_, end).c_str(), nullptr);
        move_to(end);
        return;
      }
    }
    lex_integer(integer_end);
  }

  void lex_integer(size_t decimal_end) {
    int base = 10;
    size_t begin = pos_, end = decimal_end;
    if (source_[pos_] == '0' && pos_ + 1 < source_.size()) {
      const char mark = static_cast<char>(source_[pos_ + 1] | 0x20);
      const int prefixed = mark == 'b' ? 2 : mark == 'o' ? 8 : mark == 'x' ? 16 : 0;
      const auto is_digit = [&](char c) {
        const int value = is_ascii_digit(c)                        ? c - '0'
                          : (c | 0x20) >= 'a' && (c | 0x20) <= 'f' ? (c | 0x20) - 'a' + 10
                                                                   : 99;
        return value < prefixed;
      };
      size_t digits = pos_ + 2;
      if (digits < source_.size() && source_[digits] == '_') ++digits;
      const size_t prefixed_end = prefixed ? digits_end(digits, is_digit) : digits;
      if (prefixed && prefixed_end > digits) {
        base = prefixed;
        begin = digits;
        end = prefixed_end;
      } else {  // a decimal zero: other digits after it are a number of their own
        end = digits_end(pos_, [](char c) { return c == '0'; });
      }
    }
    Int value = 0;
    for (const char c : without_underscores(begin, end)) {
      const int digit = is_ascii_digit(c) ? c - '0' : (c | 0x20) - 'a' + 10;
      if (__builtin_mul_overflow(value, static_cast<Int>(base), &value) ||
          __builtin_add_overflow(value, static_cast<Int>(digit), &value)) {
        syntax_error(name_, line_, "the integer has too many digits");
      }
    }
    push(Token::kInteger).integer = value;
    move_to(end);
  }

  bool lex_name() {
    size_t end = pos_;
    while (end < source_.size()) {
      const char32_t c = utf8_decode(source_, end);
      if (c != '_' && !is_alnum(c)) break;
      end += utf8_length(static_cast<unsigned char>(source_[end]));
    }
    if (end == pos_) return false;
    push(Token::kName, source_.substr(pos_, end - pos_));
    move_to(end);
    return true;
  }

  void lex_operator(std::string* brackets) {
    static constexpr std::string_view kTwo[] = {"//", "**", "==", "!=", ">=", "<="};
    static constexpr std::string_view kOne = "+-/*%~[](){}><=.:|,;";
    for (const std::string_view op : kTwo) {
      if (!at(op)) continue;
      push(Token::kOperator, std::string(op));
      pos_ += 2;
      return;
    }
    const char c = source_[pos_];
    if (kOne.find(c) == std::string_view::npos) {
      const size_t size = utf8_length(static_cast<unsigned char>(c));
      syntax_error(name_, line_, "unexpected character '{}'", source_.substr(pos_, size));
    }
    if (c == '{') *brackets += '}';
    if (c == '(') *brackets += ')';
    if (c == '[') *brackets += ']';
    if (c == '}' || c == ')' || c == ']') {
      if (brackets->empty()) syntax_error(name_, line_, "unexpected '{}'", c);
      if (brackets->back() != c) {
        syntax_error(name_, line_, "unexpected '{}', expected '{}'", c, brackets->back());
      }
      brackets->pop_back();
    }
    push(Token::kOperator, std::string(1, c));
    ++pos_;
  }

  void lex_string() {
    const char quote = source_[pos_];
    size_t end = pos_ + 1;
    while (end < source_.size() && source_[end] != quote) end += source_[end] == '\\' ? 2 : 1;
    if (end >= source_.size()) syntax_error(name_, line_, "unexpected character '{}'", quote);
    push(Token::kString, unescape(std::string_view(source_).substr(pos_ + 1, end - pos_ - 1)));
    move_to(end + 1);
  }

  // Python's escapes.
  std::string unescape(std::string_view text) const {
    std::string out;
    for (size_t i = 0; i < text.size();) {
      if (text[i] != '\\') {
        out += text[i++];
        continue;
      }
      ++i;  // the lexer made sure that something follows
      const char c = text[i];
      static constexpr std::string_view kFrom = "\\'\"abfnrtv", kTo = "\\'\"\a\b\f\n\r\t\v";
      const size_t simple = kFrom.find(c);
      if (simple != std::string_view::npos) {
        out += kTo[simple];
        ++i;
      } else if (c == '\n') {
        ++i;
      } else if (c >= '0' && c <= '7') {
        char32_t code = 0;
        const size_t stop = std::min(text.size(), i + 3);
        for (; i < stop && text[i] >= '0' && text[i] <= '7'; ++i) code = code * 8 + (text[i] - '0');
        utf8_append(code, &out);
      } else if (c == 'x' || c == 'u' || c == 'U') {
        const size_t digits = c == 'x' ? 2 : c == 'u' ? 4 : 8;
        uint32_t code = 0;
        const char* first = text.data() + i + 1;
        const char* last = first + std::min(digits, text.size() - i - 1);
        const auto result = std::from_chars(first, last, code, 16);
        if (result.ptr != first + digits || code > 0x10ffff || (code >= 0xd800 && code < 0xe000)) {
          syntax_error(name_, line_, "bad escape in a string: \\{}", text.substr(i, digits + 1));
        }
        utf8_append(code, &out);
        i += 1 + digits;
      } else if (c == 'N') {
        syntax_error(name_, line_, "characters by name (\\N) are not supported");
      } else if (static_cast<unsigned char>(c) >= 0x80) {
        // jinja2 spells the character in ASCII before it looks for escapes.
        const char32_t code = utf8_decode(text, i);
        out += code < 0x100     ? fmt::format("\\x{:02x}", static_cast<uint32_t>(code))
               : code < 0x10000 ? fmt::format("\\u{:04x}", static_cast<uint32_t>(code))
                                : fmt::format("\\U{:08x}", static_cast<uint32_t>(code));
        i += utf8_length(static_cast<unsigned char>(c));
      } else {
        out += '\\';
        out += c;
        ++i;
      }
    }
    return out;
  }

  const std::string& name_;
  std::string source_;
  size_t pos_ = 0;
  int line_ = 1;
  std::vector<Token> tokens_;
};

}  // namespace

std::vector<Token> tokenize(std::string source, const std::string& name) {
  return Lexer(std::move(source), name).run();
}

}  // namespace flashmoe::text::jinja
