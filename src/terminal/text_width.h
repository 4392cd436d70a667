// Columns of a terminal that text takes.
#pragma once

#include <string_view>

namespace flashmoe::terminal {

// Of one code point: 0 for marks that combine, 2 for wide characters.
int code_point_width(char32_t code_point);
// Of valid UTF-8 without escape sequences.
int text_width(std::string_view text);

}  // namespace flashmoe::terminal
