// The filters: value|name(arguments).
#pragma once

#include <string_view>

#include "text/jinja/value.h"

namespace flashmoe::text::jinja {

using Filter = Value (*)(Context&, const Value& value, const Args& args);

Filter find_filter(std::string_view name);  // null: there is none of that name

struct NamedFilter {
  std::string_view name;
  Filter filter;
};
// The parts of the table, each sorted by name.
Filter find_text_filter(std::string_view name);
Filter find_sequence_filter(std::string_view name);

}  // namespace flashmoe::text::jinja
