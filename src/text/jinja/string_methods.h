// The methods of strings. Marks survive: every byte of a result that comes from a string keeps that
// string's mark.
#pragma once

#include <string_view>
#include <vector>

#include "text/jinja/text_builder.h"
#include "text/jinja/value.h"

namespace flashmoe::text::jinja {

struct Method {
  const char* name;
  Value (*run)(Context&, const Value& self, const Args& args);  // null: exists, but not here
};

const Method* find_string_method(std::string_view name);

// Shared with the filters of the same name. `characters` null: white space.
enum class Side { kLeft, kRight, kBoth };
Value strip(Context& context, const Value& string, const Value* characters, Side side);
// `count` < 0: all.
Value replace(Context& context, const Value& string, const Value& from, const Value& to, Int count);
Value join(Context& context, const Value& separator, const std::vector<Value>& strings);
Value upper(Context& context, const Value& string);
Value lower(Context& context, const Value& string);
Value capitalize(Context& context, const Value& string);
Value center(Context& context, const Value& string, Int width, const Value& fill);
std::vector<Value> split_lines(Context& context, const Value& string, bool keep_ends);
// At every run of white space; `limit` < 0: no limit.
std::vector<Value> split_space(Context& context, const Value& string, Int limit, bool from_right);
std::vector<Value> split(Context& context, const Value& string, std::string_view separator,
                         Int limit, bool from_right);
// As the filter `title`: words begin after white space and -([{<.
Value title_words(Context& context, const Value& string);

}  // namespace flashmoe::text::jinja
