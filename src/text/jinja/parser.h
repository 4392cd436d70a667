// Parses a template into its tree, with jinja2's grammar: statements, and expressions with its
// precedence. Throws kCorrupt with name and line for what jinja2 refuses to compile.
#pragma once

#include <string>

#include "text/jinja/ast.h"

namespace flashmoe::text::jinja {

Body parse_template(std::string source, const std::string& name);

}  // namespace flashmoe::text::jinja
