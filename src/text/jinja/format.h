// Formatting into strings: the % operator, str.format and the format specifications of both.
#pragma once

#include <string>

#include "text/jinja/value.h"

namespace flashmoe::text::jinja {

Value format_percent(Context& context, const Value& format, const Value& args);
Value format_braces(Context& context, const Value& format, const Args& args);

// value in fixed notation, in decimal notation with an exponent, or the shorter of both, as
// Python's %f, %e and %g print it; `alternate` keeps the point.
std::string format_double(double value, char kind, int precision, bool alternate);
// Python's round(value, digits): correct for the decimal value of the double, ties to even.
double round_to(double value, int digits);

}  // namespace flashmoe::text::jinja
