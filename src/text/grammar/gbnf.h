// Grammars as text, in the notation that llama.cpp calls GBNF.
//
//   root   ::= "yes" | "no" (" " reason)?     # comments, and rules over several lines
//   reason ::= [^\n"] {1,80}                  # ? * + {m} {m,} {,n} {m,n} count what precedes them
//   end    ::= . <think>                      # any character; a special token by its name
//
// In literals and sets: \n \r \t \\ \" \' \[ \] \- \^ \xNN \uNNNN \UNNNNNNNN, always code points.
#pragma once

#include <string_view>

#include "text/grammar/grammar.h"

namespace flashmoe::text {

// The rule `root` is the whole. Throws Error kUsage with `name` (usually a path), line and column.
Grammar parse_gbnf(std::string_view source, std::string_view name);

}  // namespace flashmoe::text
