// The functions that every template finds: range, dict, namespace, cycler, joiner, and those that
// transformers adds, raise_exception and strftime_now.
#pragma once

#include <deque>
#include <optional>
#include <string_view>

#include "text/jinja/value.h"

namespace flashmoe::text::jinja {

// Namespaces can refer to themselves, so nothing but this owns them; it lives as long as a render.
using NamespaceArena = std::deque<NamespaceObject>;

std::optional<Value> find_global(Context& context, std::string_view name, NamespaceArena* arena);

}  // namespace flashmoe::text::jinja
