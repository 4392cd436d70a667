// Properties and case of characters as Python's str has them. Full mappings: one character may
// become three.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace flashmoe::text::jinja {

bool is_space(char32_t c);       // str.isspace, str.strip, \s
bool is_line_break(char32_t c);  // str.splitlines
bool is_alpha(char32_t c);
bool is_decimal(char32_t c);  // str.isdecimal, \d
bool is_digit(char32_t c);
bool is_numeric(char32_t c);
inline bool is_alnum(char32_t c) { return is_alpha(c) || is_numeric(c); }
bool is_upper(char32_t c);
bool is_lower(char32_t c);
bool is_title(char32_t c);
bool is_cased(char32_t c);
bool is_printable(char32_t c);  // not escaped by repr

void append_upper(char32_t c, std::string* out);
void append_title(char32_t c, std::string* out);
void append_casefold(char32_t c, std::string* out);
// The character at `pos` of valid UTF-8: the form of a sigma depends on its neighbours.
void append_lower(std::string_view text, size_t pos, std::string* out);

// Value of a decimal digit, -1 for other characters.
int decimal_value(char32_t c);

}  // namespace flashmoe::text::jinja
