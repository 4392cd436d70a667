// translate_regex: Oniguruma's (Ruby's) syntax to PCRE2's.
#include <cctype>
#include <vector>

#include "base/error.h"
#include "text/pre_tokenizer_pattern.h"
#include "text/utf8.h"

namespace flashmoe::text {
namespace {

constexpr int kMaxClassDepth = 16;
constexpr size_t kMaxGroups = 256;

// What Oniguruma's \w matches, as the inside of a class.
constexpr std::string_view kWord =
    R"(\p{Alphabetic}\p{M}\p{Nd}\p{Pc}\x{b2}\x{b3}\x{b9}\x{bc}-\x{be})";

class Translator {
 public:
  Translator(std::string_view in, const std::string& name) : in_(in), name_(name) {}

  std::string translate() {
    if (utf8_valid_prefix(in_) != in_.size()) refuse("text that is not UTF-8");
    if (in_.starts_with("(?i)")) take(4);
    while (!at_end()) atom();
    if (!groups_.empty()) refuse("an unclosed group");
    return std::move(out_);
  }

 private:
  [[noreturn]] void refuse(std::string_view what) const {
    throw_error(ErrorCode::kUnsupported, "{}: the pattern '{}' uses {}, which is not supported",
                name_, in_, what);
  }

  bool at_end() const { return pos_ >= in_.size(); }
  bool at(std::string_view text) const { return in_.substr(pos_).starts_with(text); }
  void take(size_t bytes) {
    out_ += in_.substr(pos_, bytes);
    pos_ += bytes;
  }
  bool skip(std::string_view text) {
    if (!at(text)) return false;
    pos_ += text.size();
    return true;
  }

  // One atom, group bracket, alternation or anchor, with the quantifier that follows.
  void atom() {
    atom_begin_ = out_.size();
    const char c = in_[pos_];
    if (c == '(') {
      open_group();
      return;  // no quantifier may follow
    }
    if (c == '|') {
      take(1);
      return;
    }
    if (c == '*' || c == '+' || c == '?') refuse("a quantifier of nothing");
    if (c == ')') {
      if (groups_.empty()) refuse("an unopened group");
      atom_begin_ = groups_.back();
      groups_.pop_back();
      take(1);
    } else if (c == '[') {
      out_ += char_class(0);
    } else if (c == '\\') {
      out_ += escape(false);
    } else if (c == '#' || c == ' ') {
      take(1);
    } else if (c == '{') {
      out_ += "\\{";
      ++pos_;
    } else {
      take(utf8_length(static_cast<unsigned char>(c)));
    }
    quantifier();
  }

  void open_group() {
    groups_.push_back(out_.size());
    if (groups_.size() > kMaxGroups) refuse("too many nested groups");
    if (in_.substr(pos_, 2) != "(?") {
      out_ += "(?:";  // captures are of no use here
      ++pos_;
      return;
    }
    for (const std::string_view opening :
         {"(?:", "(?=", "(?!", "(?<=", "(?<!", "(?>", "(?i:", "(?-i:"}) {
      if (at(opening)) {
        take(opening.size());
        return;
      }
    }
    refuse("a kind of group");
  }

  void quantifier() {
    while (!at_end()) {
      const char c = in_[pos_];
      if (c == '*' || c == '+' || c == '?') {
        take(1);
        if (at("?") || at("+")) take(1);  // lazy; possessive
      } else if (c == '{' && interval()) {
        // Ruby's {n,m}+ repeats the whole, it is not possessive.
        if (at("+")) {
          out_.insert(atom_begin_, "(?:");
          out_ += ')';
          take(1);
        }
      } else {
        return;
      }
      if (!at_end() && std::string_view("*+?{").find(in_[pos_]) != std::string_view::npos) {
        refuse("a quantifier of a quantifier");
      }
    }
  }

  // {n}, {n,}, {,m}, {n,m}: true when it is one, else the brace is literal.
  bool interval() {
    size_t end = pos_ + 1;
    std::string low, high;
    bool comma = false;
    for (; end < in_.size() && in_[end] != '}'; ++end) {
      if (in_[end] == ',' && !comma) {
        comma = true;
      } else if (std::isdigit(static_cast<unsigned char>(in_[end])) != 0) {
        (comma ? high : low) += in_[end];
      } else {
        return false;
      }
    }
    if (end >= in_.size() || (low.empty() && high.empty())) return false;
    pos_ = end + 1;
    out_ += '{' + (low.empty() ? "0" : low) + (comma ? "," + high : "") + '}';
    if (at("?")) {
      if (!comma) refuse("{n}?");
      take(1);
    }
    return true;
  }

  // At a backslash; inside a class, only what is valid there.
  std::string escape(bool in_class) {
    if (pos_ + 1 >= in_.size()) refuse("a lone backslash at its end");
    const char c = in_[pos_ + 1];
    if (c == 'p' || c == 'P') return property();
    if (c == 'x' || c == 'u') return code_point();
    pos_ += 2;
    switch (c) {
      case 's':
      case 'S':
      case 'd':
      case 'D':
      case 't':
      case 'n':
      case 'r':
      case 'f':
      case 'a':
      case 'e':
        return {'\\', c};
      case 'v':
        return "\\x{0b}";
      case 'h':
        return in_class ? "0-9A-Fa-f" : "[0-9A-Fa-f]";
      case 'w':
        return in_class ? std::string(kWord) : '[' + std::string(kWord) + ']';
      case 'W':
        if (!in_class) return "[^" + std::string(kWord) + ']';
        break;
      case 'b':
      case 'B':
        if (in_class) break;
        return word_boundary(c == 'B');
      case 'A':
      case 'z':
      case 'Z':
        if (!in_class) return {'\\', c};
        break;
      default:
        if (static_cast<unsigned char>(c) < 0x80 &&
            std::isalnum(static_cast<unsigned char>(c)) == 0)
          return {'\\', c};
        if (static_cast<unsigned char>(c) >= 0x80) {
          const size_t bytes = utf8_length(static_cast<unsigned char>(c));
          pos_ += bytes - 1;
          return std::string(in_.substr(pos_ - bytes, bytes));
        }
    }
    refuse(fmt::format("\\{}", c));
  }

  static std::string word_boundary(bool negated) {
    const std::string word = '[' + std::string(kWord) + ']';
    const std::string yes = "(?=" + word + ')', no = "(?!" + word + ')';
    const std::string after = "(?<=" + word + ')', not_after = "(?<!" + word + ')';
    return negated ? "(?:" + after + yes + '|' + not_after + no + ')'
                   : "(?:" + after + no + '|' + not_after + yes + ')';
  }

  // \p{Name}, \p{^Name}, \P{Name}: general categories are the same; a script is its own characters
  // in Oniguruma, but also those that it shares with other scripts in PCRE2.
  std::string property() {
    bool negated = in_[pos_ + 1] == 'P';
    const size_t end = in_.find('}', pos_);
    if (in_.substr(pos_ + 2, 1) != "{" || end == std::string_view::npos)
      refuse("\\p without braces");
    std::string name(in_.substr(pos_ + 3, end - pos_ - 3));
    if (name.starts_with('^')) {
      negated = !negated;
      name.erase(0, 1);
    }
    for (const char c : name) {
      if (std::isalpha(static_cast<unsigned char>(c)) == 0 && c != '_') refuse("a property's name");
    }
    pos_ = end + 1;
    constexpr std::string_view kCategories =
        " C Cc Cf Cn Co Cs L Ll Lm Lo Lt Lu M Mc Me Mn N Nd Nl No P Pc Pd Pe Pf Pi Po Ps S Sc Sk "
        "Sm "
        "So Z Zl Zp Zs ";
    const std::string prefix = negated ? "\\P{" : "\\p{";
    if (kCategories.find(' ' + name + ' ') != std::string_view::npos) return prefix + name + '}';
    constexpr std::string_view kNotScripts = " Alphabetic Any Assigned ASCII ";
    if (name.size() < 3 || kNotScripts.find(' ' + name + ' ') != std::string_view::npos) {
      refuse("\\p{" + name + "}");
    }
    return prefix + "sc:" + name + '}';
  }

  std::string code_point() {
    size_t begin = pos_ + 2, digits = in_[pos_ + 1] == 'u' ? 4 : 2;
    const bool braces = in_[pos_ + 1] == 'x' && in_.substr(begin, 1) == "{";
    if (braces) {
      const size_t close = in_.find('}', ++begin);
      digits = close == std::string_view::npos ? 0 : close - begin;
    }
    const std::string_view hex = in_.substr(begin, digits);
    if (digits == 0 || digits > 8 || hex.size() != digits) refuse("a code point");
    for (const char c : hex) {
      if (std::isxdigit(static_cast<unsigned char>(c)) == 0) refuse("a code point");
    }
    if (in_[pos_ + 1] == 'x' && !braces && hex > "7f") refuse("a byte of UTF-8");
    pos_ = begin + digits + (braces ? 1 : 0);
    return "\\x{" + std::string(hex) + '}';
  }

  // At '[': a class in PCRE2's syntax. Nested sets are united, A&&B becomes (?=B)A.
  std::string char_class(int depth) {
    if (depth > kMaxClassDepth) refuse("too deeply nested classes");
    ++pos_;
    const bool negated = skip("^");
    std::string operands;  // the left sides of &&
    std::string members;
    if (at("]")) refuse("an empty class");
    while (!skip("]")) {
      if (at_end()) refuse("an unclosed class");
      if (skip("&&")) {
        if (negated || depth > 0 || members.empty()) refuse("an intersection here");
        operands += "(?=[" + members + "])";
        members.clear();
      } else if (at("[:")) {
        members += posix_class();
      } else if (at("[")) {
        std::string nested = char_class(depth + 1);
        if (nested.starts_with("[^")) {
          // Only as one whole side of an intersection can a negated set stand.
          if (depth > 0 || !members.empty() || !(at("&&") || at("]")) ||
              (operands.empty() && !at("&&"))) {
            refuse("a negated class in a class");
          }
          members = nested.substr(1, nested.size() - 2);
          if (at("]")) {
            ++pos_;
            return "(?:" + operands + '[' + members + "])";
          }
          skip("&&");
          operands += "(?=[" + members + "])";
          members.clear();
        } else {
          members += nested.substr(1, nested.size() - 2);
        }
      } else if (at("\\")) {
        members += escape(true);
      } else {
        const size_t bytes = utf8_length(static_cast<unsigned char>(in_[pos_]));
        members += in_.substr(pos_, bytes);
        pos_ += bytes;
      }
    }
    if (members.empty()) refuse("an empty class");
    const std::string last = (negated ? "[^" : "[") + members + ']';
    return operands.empty() ? last : "(?:" + operands + last + ')';
  }

  std::string posix_class() {
    if (skip("[:digit:]")) return "\\d";
    if (skip("[:space:]")) return "\\s";
    if (skip("[:punct:]")) return "\\p{P}\\p{S}";
    if (skip("[:word:]")) return std::string(kWord);
    refuse("a POSIX class");
  }

  std::string_view in_;
  const std::string& name_;
  size_t pos_ = 0;
  std::string out_;
  size_t atom_begin_ = 0;       // in out_
  std::vector<size_t> groups_;  // where the open groups begin in out_
};

}  // namespace

std::string translate_regex(std::string_view oniguruma, const std::string& name) {
  return Translator(oniguruma, name).translate();
}

}  // namespace flashmoe::text
