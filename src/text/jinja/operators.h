// Operators, attributes and subscripts, as Python and jinja2's sandbox have them.
#pragma once

#include <string_view>

#include "text/jinja/ast.h"
#include "text/jinja/value.h"

namespace flashmoe::text::jinja {

Value binary(Context& context, Expr::Kind op, const Value& a, const Value& b);
Value negate(Context& context, const Value& value);
Value plus(Context& context, const Value& value);
bool compare(Context& context, Expr::Operator op, const Value& a, const Value& b);
bool contains(Context& context, const Value& container, const Value& item);

// object.name: attributes and methods first, then keys. Undefined if there is neither.
Value get_attribute(Context& context, const Value& object, const Value& name);
// The attribute alone; nothing if there is none.
std::optional<Value> find_attribute(Context& context, const Value& object, std::string_view name);
// object[key]: keys first, then attributes.
Value get_item(Context& context, const Value& object, const Value& key);
Value slice(Context& context, const Value& object, const Value& start, const Value& stop,
            const Value& step);

Value call(Context& context, const Value& callee, Args args);
bool is_callable(const Value& value);

// An integer argument; booleans are integers.
Int to_integer(Context& context, const Value& value);
// Python's int(text, base); nothing if it is not a number.
std::optional<Int> parse_integer(std::string_view text, int base);
std::optional<double> parse_float(std::string_view text);

// Byte offset of code point `index`, which may be the length.
size_t byte_offset(const std::string& text, Int index);

}  // namespace flashmoe::text::jinja
