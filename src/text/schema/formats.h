// The formats of strings that JSON Schema names, as regular expressions.
#pragma once

#include <string>
#include <string_view>

namespace flashmoe::text::schema {

// Matches only strings of the format, and those one meets, but not all that its standard has.
// nullptr for a format that is not known.
const char* format_pattern(std::string_view format);

// "date, date-time, …", for messages.
std::string format_names();

}  // namespace flashmoe::text::schema
