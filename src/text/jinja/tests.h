// The tests: value is name(arguments).
#pragma once

#include <string_view>

#include "text/jinja/value.h"

namespace flashmoe::text::jinja {

using Test = bool (*)(Context&, const Value& value, const Args& args);

Test find_test(std::string_view name);  // null: there is none of that name

}  // namespace flashmoe::text::jinja
