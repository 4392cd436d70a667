#include "text/grammar/gbnf.h"

#include <algorithm>
#include <map>
#include <string>
#include <utility>

#include "base/error.h"
#include "text/utf8.h"

namespace flashmoe::text {

namespace {

constexpr size_t kMaxSourceBytes = size_t{1} << 20;
constexpr int kMaxDepth = 200;            // of groups
constexpr int64_t kMaxCount = 1'000'000;  // of a repetition

bool is_name_char(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
         c == '_';
}

class GbnfParser {
 public:
  GbnfParser(std::string_view source, std::string_view name) : source_(source), name_(name) {}

  Grammar parse() {
    if (source_.size() > kMaxSourceBytes) fail("a grammar may have 1 MiB");
    if (utf8_valid_prefix(source_) != source_.size()) {
      pos_ = utf8_valid_prefix(source_);
      fail("not UTF-8");
    }
    skip_space();
    while (pos_ < source_.size()) {
      const size_t begin = pos_;
      const std::string name = rule_name();
      skip_space();
      if (!take("::=")) fail("'::=' is missing after the name of a rule");
      const Grammar::Rule rule = rule_of(name);
      if (grammar_.body(rule) >= 0) {
        pos_ = begin;
        fail(fmt::format("the rule '{}' is defined twice", name));
      }
      grammar_.define(rule, alternatives(0));
    }
    const auto root = rules_.find("root");
    if (root == rules_.end() || grammar_.body(root->second) < 0) {
      throw_error(ErrorCode::kUsage, "{}: there is no rule named 'root'", name_);
    }
    for (const auto& [name, rule] : rules_) {
      if (grammar_.body(rule) < 0) {
        throw_error(ErrorCode::kUsage, "{}: the rule '{}' is used but not defined", name_, name);
      }
    }
    grammar_.set_root(root->second);
    return std::move(grammar_);
  }

 private:
  [[noreturn]] void fail(const std::string& why) const {
    const std::string_view before = source_.substr(0, pos_);
    const auto line = 1 + std::count(before.begin(), before.end(), '\n');
    const size_t column = pos_ - (before.rfind('\n') + 1) + 1;  // npos + 1 is 0
    throw_error(ErrorCode::kUsage, "{}:{}:{}: {}", name_, line, column, why);
  }

  bool at_end() const { return pos_ >= source_.size(); }
  char peek() const { return at_end() ? '\0' : source_[pos_]; }
  bool take(std::string_view token) {
    if (!source_.substr(pos_).starts_with(token)) return false;
    pos_ += token.size();
    return true;
  }
  void skip_space() {
    while (!at_end()) {
      if (peek() == '#') {
        pos_ = std::min(source_.size(), source_.find('\n', pos_));
      } else if (peek() == ' ' || peek() == '\t' || peek() == '\n' || peek() == '\r') {
        ++pos_;
      } else {
        break;
      }
    }
  }

  std::string rule_name() {
    const size_t begin = pos_;
    while (!at_end() && is_name_char(peek())) ++pos_;
    if (pos_ == begin) fail("the name of a rule is missing");
    return std::string(source_.substr(begin, pos_ - begin));
  }

  Grammar::Rule rule_of(const std::string& name) {
    const auto [found, added] = rules_.try_emplace(name, -1);
    if (added) found->second = grammar_.add_rule(name);
    return found->second;
  }

  Grammar::Expr alternatives(int depth) {
    if (depth > kMaxDepth) fail("groups are nested too deeply");
    std::vector<Grammar::Expr> parts = {sequence(depth)};
    while (take("|")) parts.push_back(sequence(depth));
    return grammar_.choice(std::move(parts));
  }

  // Ends before '|', ')' and the head of the next rule.
  Grammar::Expr sequence(int depth) {
    std::vector<Grammar::Expr> parts;
    for (skip_space(); !at_end() && peek() != '|'; skip_space()) {
      if (peek() == ')') {
        if (depth == 0) fail("')' without '('");
        break;
      }
      if (is_name_char(peek()) && at_rule_head()) {
        if (depth > 0) fail("')' is missing before the next rule");
        break;
      }
      parts.push_back(counted(item(depth)));
    }
    return parts.empty() ? grammar_.literal("") : grammar_.sequence(std::move(parts));
  }

  bool at_rule_head() {
    const size_t begin = pos_;
    rule_name();
    skip_space();
    const bool is_head = source_.substr(pos_).starts_with("::=");
    pos_ = begin;
    return is_head;
  }

  Grammar::Expr item(int depth) {
    if (is_name_char(peek())) return grammar_.call(rule_of(rule_name()));
    if (take("\"")) return literal();
    if (take("[")) return set();
    if (take(".")) return grammar_.one_of(complement({}));
    if (peek() == '<') return token();
    if (take("(")) {
      const Grammar::Expr inside = alternatives(depth + 1);
      if (!take(")")) fail("')' is missing");
      return inside;
    }
    fail(fmt::format("'{}' begins nothing that a rule may have", peek()));
  }

  Grammar::Expr counted(Grammar::Expr part) {
    for (skip_space(); !at_end(); skip_space()) {
      if (take("?")) {
        part = grammar_.optional(part);
      } else if (take("*")) {
        part = grammar_.repeat(part, 0, Grammar::kNoLimit);
      } else if (take("+")) {
        part = grammar_.repeat(part, 1, Grammar::kNoLimit);
      } else if (take("{")) {
        skip_space();
        const bool has_min = peek() != ',';
        const int64_t min = has_min ? number() : 0;
        int64_t max = min;
        skip_space();
        if (take(",")) {
          skip_space();
          max = peek() == '}' ? Grammar::kNoLimit : number();
          skip_space();
        }
        if (!take("}")) fail("'}' is missing");
        if (max != Grammar::kNoLimit && max < min) fail("a repetition's limits are in disorder");
        part = grammar_.repeat(part, min, max);
      } else {
        break;
      }
    }
    return part;
  }

  int64_t number() {
    const size_t begin = pos_;
    int64_t value = 0;
    for (; peek() >= '0' && peek() <= '9'; ++pos_) {
      value = value * 10 + (peek() - '0');
      if (value > kMaxCount) fail(fmt::format("at most {} repetitions", kMaxCount));
    }
    if (pos_ == begin) fail("a number is missing");
    return value;
  }

  Grammar::Expr literal() {
    std::string text;
    while (!take("\"")) utf8_append(character("a literal"), &text);
    return grammar_.literal(text);
  }

  Grammar::Expr set() {
    const bool negated = take("^");
    std::vector<CodePointRange> ranges;
    while (!take("]")) {
      const char32_t first = character("a set");
      char32_t last = first;
      if (peek() == '-' && !source_.substr(pos_).starts_with("-]")) {
        ++pos_;
        last = character("a set");
        if (last < first) fail("a range is in disorder");
      }
      ranges.push_back({first, last});
    }
    const CodePointSet set = code_point_set(std::move(ranges));
    return grammar_.one_of(negated ? complement(set) : set);
  }

  Grammar::Expr token() {
    const size_t end = source_.find_first_of(">\n", pos_);
    if (end == std::string_view::npos || source_[end] != '>') fail("'>' is missing");
    const std::string_view name = source_.substr(pos_, end + 1 - pos_);
    pos_ = end + 1;
    return grammar_.tag(name);
  }

  // One code point, perhaps escaped.
  char32_t character(const char* where) {
    if (at_end()) fail(fmt::format("the end of {} is missing", where));
    if (peek() != '\\') {
      const char32_t c = utf8_decode(source_, pos_);
      pos_ += utf8_length(static_cast<unsigned char>(peek()));
      return c;
    }
    ++pos_;
    const char escape = peek();
    if (!at_end()) ++pos_;
    switch (escape) {
      case 'n':
        return '\n';
      case 'r':
        return '\r';
      case 't':
        return '\t';
      case 'x':
        return hex(2);
      case 'u':
        return hex(4);
      case 'U':
        return hex(8);
      case '\\':
      case '"':
      case '\'':
      case '[':
      case ']':
      case '-':
      case '^':
        return static_cast<unsigned char>(escape);
      default:
        --pos_;
        fail("unknown escape");
    }
  }

  char32_t hex(int digits) {
    char32_t value = 0;
    for (int i = 0; i < digits; ++i, ++pos_) {
      const char c = peek();
      const int digit = c >= '0' && c <= '9'   ? c - '0'
                        : c >= 'a' && c <= 'f' ? c - 'a' + 10
                        : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                               : -1;
      if (digit < 0) fail(fmt::format("{} hexadecimal digits are needed", digits));
      value = value << 4 | static_cast<char32_t>(digit);
    }
    if (value > 0x10ffff || (value >= 0xd800 && value <= 0xdfff)) fail("no such code point");
    return value;
  }

  std::string_view source_;
  std::string name_;
  size_t pos_ = 0;
  Grammar grammar_;
  std::map<std::string, Grammar::Rule> rules_;
};

}  // namespace

Grammar parse_gbnf(std::string_view source, std::string_view name) {
  return GbnfParser(source, name).parse();
}

}  // namespace flashmoe::text
