// Values as text: Python's str(), repr() and json.dumps(), to the byte.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "text/jinja/text_builder.h"
#include "text/jinja/value.h"

namespace flashmoe::text::jinja {

void append_str(Context& context, const Value& value, TextBuilder* out);
void append_repr(Context& context, const Value& value, TextBuilder* out);
Value to_str(Context& context, const Value& value);  // without the markup flag
std::string repr(Context& context, const Value& value);
std::string print_float(double value);
std::string print_integer(Int value);

struct JsonOptions {
  bool ensure_ascii = false;
  bool sort_keys = false;
  std::optional<Value> indent;  // a string, repeated per level; nothing: one line
  Value item_separator;         // strings
  Value key_separator;
};
Value to_json(Context& context, const Value& value, const JsonOptions& options);

// `text` with HTML's special characters replaced, unless it is markup; the result is.
Value escape_html(Context& context, const Value& value);

}  // namespace flashmoe::text::jinja
