// Cuts a template into tokens as jinja2 does with trim_blocks and lstrip_blocks: the rules for
// white space around tags live here. Throws kCorrupt with name and line.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "text/jinja/value.h"

namespace flashmoe::text::jinja {

struct Token {
  enum Kind {
    kData,  // text
    kVariableBegin,
    kVariableEnd,
    kBlockBegin,
    kBlockEnd,
    kName,      // text
    kString,    // text, unescaped
    kInteger,   // integer
    kFloat,     // real
    kOperator,  // text
    kEnd,
  };
  Kind kind = kEnd;
  int line = 1;
  std::string text;
  Int integer = 0;
  double real = 0;

  bool is_operator(std::string_view op) const { return kind == kOperator && text == op; }
  bool is_name(std::string_view name) const { return kind == kName && text == name; }
};

// `source` is UTF-8; the last token is kEnd.
std::vector<Token> tokenize(std::string source, const std::string& name);

template <typename... Args>
[[noreturn]] void syntax_error(const std::string& name, int line,
                               fmt::format_string<Args...> format, Args&&... args) {
  throw_error(ErrorCode::kCorrupt, "{}: line {}: {}", name, line,
              fmt::format(format, std::forward<Args>(args)...));
}

}  // namespace flashmoe::text::jinja
