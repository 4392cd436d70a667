// The regular expressions of JSON Schema's `pattern`, as trees of sets of characters, and strings
// as expressions of a grammar. Owns no keywords.
//
// Understood: literals, '.', [sets], \d \w \s and their negations, \n \r \t \f \v \0 \xHH \uHHHH
// \u{…} \cX, groups (capturing or not), |, the quantifiers ? * + {m} {m,} {m,n} (also lazy), and ^
// and $ at the ends of a whole alternative. Refused: \b, look-around, references, \p, named groups.
// Classes are ASCII's, so what is made from them matches in engines where they are Unicode's too.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "text/grammar/grammar.h"

namespace flashmoe::text::schema {

struct Regex {
  static constexpr int64_t kNoLimit = Grammar::kNoLimit;
  enum Kind { kSet, kSequence, kChoice, kRepeat };
  Kind kind = kSequence;
  CodePointSet set = {};
  std::vector<Regex> parts = {};  // kRepeat: one
  int64_t min = 0, max = 0;       // kRepeat
};

// As `pattern` means it: found anywhere in the string unless ^ and $ say otherwise. Throws Error
// kUsage that begins with `path`.
Regex parse_regex(std::string_view pattern, const std::string& path);

// A string of any characters.
Regex any_string();

// Restricts the expression to some, not always all, of its strings of min to max characters. False
// if that cannot be done.
bool limit_length(Regex* regex, int64_t min, int64_t max);

// How the characters of a string are written.
enum class StringForm {
  kJson,  // between quotes, which are not part of this, with escapes
  kRaw,   // as they are, but never '<', so that a tag ends them
};
Grammar::Expr string_expr(const Regex& regex, StringForm form, Grammar* grammar);

}  // namespace flashmoe::text::schema
