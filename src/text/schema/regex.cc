#include "text/schema/regex.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <utility>

#include "base/error.h"
#include "text/utf8.h"

namespace flashmoe::text::schema {

namespace {

constexpr size_t kMaxPatternBytes = 1 << 16;
constexpr int kMaxDepth = 100;
constexpr int64_t kMaxCount = 100'000;
constexpr int64_t kMaxChars = int64_t{1}
                              << 40;  // lengths are cut off here, so sums cannot overflow

const CodePointSet& ascii() {
  static const auto* const kSet = new CodePointSet{{0, 0x7f}};
  return *kSet;
}

CodePointSet all_characters() { return complement({}); }

class RegexParser {
 public:
  RegexParser(std::string_view pattern, const std::string& path) : text_(pattern), path_(path) {}

  Regex parse() {
    if (text_.size() > kMaxPatternBytes) fail("is too long");
    if (utf8_valid_prefix(text_) != text_.size()) fail("is not UTF-8");
    Regex regex = alternatives(0);
    if (!at_end()) fail("has a ')' without a '('");
    return regex;
  }

 private:
  [[noreturn]] void fail(std::string_view why) const {
    throw_error(ErrorCode::kUsage, "{}: the pattern '{}' {}", path_, text_, why);
  }

  bool at_end() const { return pos_ >= text_.size(); }
  char peek() const { return at_end() ? '\0' : text_[pos_]; }
  bool take(std::string_view token) {
    if (!text_.substr(pos_).starts_with(token)) return false;
    pos_ += token.size();
    return true;
  }

  Regex alternatives(int depth) {
    if (depth > kMaxDepth) fail("is nested too deeply");
    Regex choice{.kind = Regex::kChoice};
    do {
      choice.parts.push_back(sequence(depth));
    } while (take("|"));
    return choice.parts.size() == 1 ? std::move(choice.parts[0]) : choice;
  }

  Regex sequence(int depth) {
    Regex sequence;
    const bool from_start = take("^");
    bool to_end = false;
    while (!at_end() && peek() != '|' && peek() != ')') {
      if (to_end) fail("has a '$' that is not at its end");
      if (take("$")) {
        to_end = true;
      } else {
        sequence.parts.push_back(quantified(item(depth)));
      }
    }
    // Inside a group, anchors would need to know what is around it.
    if (depth > 0 && (from_start || to_end)) fail("has '^' or '$' in a group");
    if (depth == 0) {
      if (!from_start) sequence.parts.insert(sequence.parts.begin(), any_string());
      if (!to_end) sequence.parts.push_back(any_string());
    }
    return sequence;
  }

  Regex item(int depth) {
    if (take("(")) {
      if (peek() == '?' && !take("?:")) fail("has a group of a kind that is not supported");
      Regex inside = alternatives(depth + 1);
      if (!take(")")) fail("has a '(' without a ')'");
      return inside;
    }
    if (take("[")) return set();
    if (take(".")) {
      return {.kind = Regex::kSet,
              .set = complement(code_point_set({{'\n', '\n'}, {'\r', '\r'}, {0x2028, 0x2029}}))};
    }
    if (take("^")) fail("has a '^' that is not at its beginning");
    if (peek() == '*' || peek() == '+' || peek() == '?') fail("repeats nothing");
    if (take("\\")) return {.kind = Regex::kSet, .set = escape(false)};
    const char32_t c = character();
    return {.kind = Regex::kSet, .set = {{c, c}}};
  }

  Regex quantified(Regex part) {
    int64_t min = 1, max = 1;
    if (take("?")) {
      min = 0;
    } else if (take("*")) {
      min = 0;
      max = Regex::kNoLimit;
    } else if (take("+")) {
      max = Regex::kNoLimit;
    } else if (!counts(&min, &max)) {
      return part;
    }
    take("?");  // lazy: which strings match is the same
    if (peek() == '*' || peek() == '+' || peek() == '?') fail("repeats a repetition");
    Regex repeat{.kind = Regex::kRepeat, .min = min, .max = max};
    repeat.parts.push_back(std::move(part));
    return repeat;
  }

  // "{2,3}". A brace that is no count is a character, as in ECMA-262's annex B.
  bool counts(int64_t* min, int64_t* max) {
    const size_t begin = pos_;
    const auto number = [&](int64_t* value) {
      const size_t digits = pos_;
      *value = 0;
      for (; peek() >= '0' && peek() <= '9'; ++pos_) {
        *value = std::min(*value * 10 + (peek() - '0'), kMaxCount + 1);
      }
      return pos_ > digits;
    };
    if (take("{") && number(min)) {
      *max = *min;
      if (take(",") && !number(max)) *max = Regex::kNoLimit;
      if (take("}")) {
        if (*min > kMaxCount || *max > kMaxCount) fail("counts too far");
        if (*max != Regex::kNoLimit && *max < *min) fail("has a count in disorder");
        return true;
      }
    }
    pos_ = begin;
    return false;
  }

  Regex set() {
    const bool negated = take("^");
    std::vector<CodePointRange> ranges;
    bool has_class = false;
    while (!take("]")) {
      if (at_end()) fail("has a '[' without a ']'");
      char32_t first;
      if (member(&first, &ranges, &has_class)) {
        char32_t last = first;
        if (peek() == '-' && !text_.substr(pos_).starts_with("-]")) {
          ++pos_;
          std::vector<CodePointRange> unused;
          if (at_end() || !member(&last, &unused, &has_class)) {
            fail("has a range whose end is no character");
          }
          if (last < first) fail("has a range in disorder");
        }
        ranges.push_back({first, last});
      }
    }
    CodePointSet set = code_point_set(std::move(ranges));
    if (negated) {
      set = complement(set);
      if (has_class) set = intersection(set, ascii());
    }
    return {.kind = Regex::kSet, .set = std::move(set)};
  }

  // One character of a set, or false and the ranges of a class.
  bool member(char32_t* c, std::vector<CodePointRange>* ranges, bool* has_class) {
    if (!take("\\")) {
      *c = character();
      return true;
    }
    const CodePointSet set = escape(true);
    if (set.size() == 1 && set[0].first == set[0].last) {
      *c = set[0].first;
      return true;
    }
    *has_class = true;
    ranges->insert(ranges->end(), set.begin(), set.end());
    return false;
  }

  char32_t character() {
    const char32_t c = utf8_decode(text_, pos_);
    pos_ += utf8_length(static_cast<unsigned char>(peek()));
    return c;
  }

  char32_t hex(int digits) {
    char32_t value = 0;
    for (int i = 0; i < digits; ++i, ++pos_) {
      const char c = peek();
      if (c >= '0' && c <= '9') {
        value = value * 16 + static_cast<char32_t>(c - '0');
      } else if ((c | 0x20) >= 'a' && (c | 0x20) <= 'f') {
        value = value * 16 + static_cast<char32_t>((c | 0x20) - 'a' + 10);
      } else {
        fail("has an escape with too few hexadecimal digits");
      }
    }
    return value;
  }

  // What follows a backslash.
  CodePointSet escape(bool in_set) {
    const auto one = [](char32_t c) { return CodePointSet{{c, c}}; };
    const auto not_in = [](const CodePointSet& set) {
      return intersection(complement(set), ascii());
    };
    const CodePointSet digits = {{'0', '9'}};
    const CodePointSet word = code_point_set({{'0', '9'}, {'A', 'Z'}, {'_', '_'}, {'a', 'z'}});
    const CodePointSet space = code_point_set({{'\t', '\r'}, {' ', ' '}});
    if (at_end()) fail("ends in a backslash");
    const char c = peek();
    if (static_cast<unsigned char>(c) >= 0x80) return one(character());
    ++pos_;
    switch (c) {
      case 'd':
        return digits;
      case 'D':
        return not_in(digits);
      case 'w':
        return word;
      case 'W':
        return not_in(word);
      case 's':
        return space;
      case 'S':
        // Python counts these controls as space.
        return not_in(code_point_set({{'\t', '\r'}, {0x1c, 0x1f}, {' ', ' '}}));
      case 'n':
        return one('\n');
      case 'r':
        return one('\r');
      case 't':
        return one('\t');
      case 'f':
        return one('\f');
      case 'v':
        return one('\v');
      case '0':
        if (peek() >= '0' && peek() <= '9') fail("has an octal escape");
        return one(0);
      case 'x':
        return one(hex(2));
      case 'c': {
        const char letter = static_cast<char>(peek() | 0x20);
        if (letter < 'a' || letter > 'z') fail("has a \\c without a letter");
        ++pos_;
        return one(static_cast<char32_t>(letter - 'a' + 1));
      }
      case 'u': {
        char32_t value = 0;
        if (take("{")) {
          const size_t end = text_.find('}', pos_);
          if (end == std::string_view::npos || end == pos_ || end - pos_ > 6) {
            fail("has an unfinished \\u{…}");
          }
          value = hex(static_cast<int>(end - pos_));
          ++pos_;
        } else {
          value = hex(4);
          if (value >= 0xd800 && value < 0xdc00 && take("\\u")) {
            const char32_t low = hex(4);
            if (low < 0xdc00 || low > 0xdfff) fail("has half a surrogate pair");
            value = 0x10000 + ((value - 0xd800) << 10) + (low - 0xdc00);
          }
        }
        if (value > 0x10ffff || (value >= 0xd800 && value <= 0xdfff)) {
          fail("has an escape that is no character");
        }
        return one(value);
      }
      case 'b':
        if (in_set) return one('\b');
        fail("has \\b, which is not supported");
      default:
        if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '1' && c <= '9')) {
          fail(fmt::format("has \\{}, which is not supported", c));
        }
        return one(static_cast<unsigned char>(c));
    }
  }

  std::string_view text_;
  const std::string& path_;
  size_t pos_ = 0;
};

struct Length {
  int64_t min, max;  // max: kNoLimit if there is none
};

int64_t times(int64_t count, int64_t chars) {
  if (count == 0 || chars == 0) return 0;
  return count > kMaxChars / chars ? kMaxChars : count * chars;
}

Length length(const Regex& regex) {
  switch (regex.kind) {
    case Regex::kSet:
      return {1, 1};
    case Regex::kSequence: {
      Length sum{0, 0};
      for (const Regex& part : regex.parts) {
        const Length l = length(part);
        sum.min = std::min(kMaxChars, sum.min + l.min);
        const bool endless = sum.max == Regex::kNoLimit || l.max == Regex::kNoLimit;
        sum.max = endless ? Regex::kNoLimit : std::min(kMaxChars, sum.max + l.max);
      }
      return sum;
    }
    case Regex::kChoice: {
      Length both = length(regex.parts[0]);
      for (const Regex& part : regex.parts) {
        const Length l = length(part);
        both.min = std::min(both.min, l.min);
        const bool endless = both.max == Regex::kNoLimit || l.max == Regex::kNoLimit;
        both.max = endless ? Regex::kNoLimit : std::max(both.max, l.max);
      }
      return both;
    }
    case Regex::kRepeat: {
      const Length l = length(regex.parts[0]);
      if (l.max == 0 || regex.max == 0) return {0, 0};
      const bool endless = regex.max == Regex::kNoLimit || l.max == Regex::kNoLimit;
      return {times(regex.min, l.min), endless ? Regex::kNoLimit : times(regex.max, l.max)};
    }
  }
  return {0, 0};
}

// Makes the shortest string longer by `chars`, where one repetition of single characters can.
bool lengthen(Regex* regex, int64_t chars) {
  if (regex->kind == Regex::kRepeat) {
    const Length l = length(regex->parts[0]);
    if (l.min != 1 || l.max != 1) return false;
    if (regex->max != Regex::kNoLimit && regex->max - regex->min < chars) return false;
    regex->min += chars;
    return true;
  }
  if (regex->kind != Regex::kSequence) return false;
  return std::any_of(regex->parts.begin(), regex->parts.end(),
                     [&](Regex& part) { return lengthen(&part, chars); });
}

// Leaves strings of at most `max` characters, which its shortest has.
void shorten(Regex* regex, int64_t max) {
  const auto fits = [max](const Length& l) { return l.max != Regex::kNoLimit && l.max <= max; };
  if (fits(length(*regex))) return;
  switch (regex->kind) {
    case Regex::kSet:
      return;
    case Regex::kSequence: {
      // Parts with an end first get their own length; the others share what is left.
      int64_t slack = max - length(*regex).min;
      int64_t endless = 0;
      for (Regex& part : regex->parts) {
        const Length l = length(part);
        if (l.max == Regex::kNoLimit) {
          ++endless;
          continue;
        }
        const int64_t more = std::min(slack, l.max - l.min);
        shorten(&part, l.min + more);
        slack -= more;
      }
      for (Regex& part : regex->parts) {
        const Length l = length(part);
        if (l.max != Regex::kNoLimit) continue;
        const int64_t more = slack / endless--;
        shorten(&part, l.min + more);
        slack -= more;
      }
      return;
    }
    case Regex::kChoice:
      std::erase_if(regex->parts, [&](const Regex& part) { return length(part).min > max; });
      for (Regex& part : regex->parts) shorten(&part, max);
      return;
    case Regex::kRepeat: {
      Regex& part = regex->parts[0];
      const Length l = length(part);
      int64_t longest = l.max;
      if (l.min != l.max || l.max == Regex::kNoLimit) {
        // Some repetitions of some length each.
        longest = std::max(l.min, static_cast<int64_t>(std::sqrt(static_cast<double>(max))));
        if (regex->min > 0) longest = std::min(longest, max / regex->min);
        if (l.max != Regex::kNoLimit) longest = std::min(longest, l.max);
        if (regex->max != Regex::kNoLimit && regex->max > 0) {
          longest = std::max(longest, max / regex->max);
        }
        shorten(&part, longest);
      }
      const int64_t most = longest > 0 ? max / longest : 0;
      if (regex->max == Regex::kNoLimit || regex->max > most) regex->max = most;
      return;
    }
  }
}

// A character of the set within quotes.
Grammar::Expr json_character(const CodePointSet& set, Grammar* grammar) {
  static const auto* const kPlain =
      new CodePointSet(complement(code_point_set({{0, 0x1f}, {'"', '"'}, {'\\', '\\'}})));
  const auto is_in = [&](char32_t c) { return !intersection(set, {{c, c}}).empty(); };
  std::vector<Grammar::Expr> ways;
  if (CodePointSet plain = intersection(set, *kPlain); !plain.empty()) {
    ways.push_back(grammar->one_of(std::move(plain)));
  }
  CodePointSet letters;  // after a backslash
  const std::pair<char32_t, char> escapes[] = {{'"', '"'},  {'\\', '\\'}, {'\b', 'b'}, {'\f', 'f'},
                                               {'\n', 'n'}, {'\r', 'r'},  {'\t', 't'}};
  for (const auto& [c, letter] : escapes) {
    const auto escape = static_cast<unsigned char>(letter);
    if (is_in(c)) letters.push_back({escape, escape});
  }
  const bool is_all = set == all_characters();
  if (is_all) letters.push_back({'/', '/'});
  std::vector<Grammar::Expr> escaped;
  if (!letters.empty()) escaped.push_back(grammar->one_of(code_point_set(std::move(letters))));
  if (is_all) {
    const auto digits = [&](std::string_view first) {
      std::vector<CodePointRange> ranges;
      for (const char c : first) {
        const auto digit = static_cast<unsigned char>(c);
        ranges.push_back({digit, digit});
      }
      return grammar->one_of(code_point_set(std::move(ranges)));
    };
    const std::string_view hex = "0123456789abcdefABCDEF";
    const auto any = [&](int64_t count) { return grammar->repeat(digits(hex), count, count); };
    // Not half of a pair alone.
    escaped.push_back(grammar->sequence(
        {grammar->literal("u"),
         grammar->choice(
             {grammar->sequence({digits("0123456789abcefABCEF"), any(3)}),
              grammar->sequence({digits("dD"), digits("01234567"), any(2)}),
              grammar->sequence({digits("dD"), digits("89abAB"), any(2), grammar->literal("\\u"),
                                 digits("dD"), digits("cdefCDEF"), any(2)})})}));
  } else {
    for (char32_t c = 0; c < 0x20; ++c) {
      const bool has_letter = (c >= 8 && c <= 10) || c == 12 || c == 13;
      if (is_in(c) && !has_letter) {
        escaped.push_back(grammar->literal(fmt::format("u{:04x}", static_cast<unsigned>(c))));
      }
    }
  }
  if (!escaped.empty()) {
    ways.push_back(grammar->sequence({grammar->literal("\\"), grammar->choice(escaped)}));
  }
  return grammar->choice(std::move(ways));
}

}  // namespace

Regex parse_regex(std::string_view pattern, const std::string& path) {
  return RegexParser(pattern, path).parse();
}

Regex any_string() {
  Regex repeat{.kind = Regex::kRepeat, .max = Regex::kNoLimit};
  repeat.parts.push_back({.kind = Regex::kSet, .set = all_characters()});
  return repeat;
}

bool limit_length(Regex* regex, int64_t min, int64_t max) {
  const Length l = length(*regex);
  if (max != Regex::kNoLimit && std::max(l.min, min) > max) return false;
  if (l.min < min) {
    if (regex->kind == Regex::kChoice) {
      for (Regex& part : regex->parts) {
        if (!limit_length(&part, min, Regex::kNoLimit)) return false;
      }
    } else if (!lengthen(regex, min - l.min)) {
      return false;
    }
  }
  if (max != Regex::kNoLimit) shorten(regex, max);
  return true;
}

Grammar::Expr string_expr(const Regex& regex, StringForm form, Grammar* grammar) {
  switch (regex.kind) {
    case Regex::kSet:
      if (form == StringForm::kJson) return json_character(regex.set, grammar);
      return grammar->one_of(intersection(regex.set, complement(code_point_set({{'<', '<'}}))));
    case Regex::kRepeat:
      return grammar->repeat(string_expr(regex.parts[0], form, grammar), regex.min, regex.max);
    default: {
      std::vector<Grammar::Expr> parts;
      for (const Regex& part : regex.parts) parts.push_back(string_expr(part, form, grammar));
      return regex.kind == Regex::kChoice ? grammar->choice(std::move(parts))
                                          : grammar->sequence(std::move(parts));
    }
  }
}

}  // namespace flashmoe::text::schema
