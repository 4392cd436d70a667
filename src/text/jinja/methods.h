// Methods of strings, lists, dicts and numbers, and how arguments find their parameters. Methods
// that would change a list or dict are forbidden, as in jinja2's immutable sandbox.
#pragma once

#include <initializer_list>
#include <optional>
#include <string_view>
#include <vector>

#include "text/jinja/value.h"

namespace flashmoe::text::jinja {

// The bound method, or a plain attribute of a number.
std::optional<Value> find_method(Context& context, const Value& object, std::string_view name);
bool is_forbidden_method(const Value& object, std::string_view name);

// Arguments by position or name, as in a signature; null for those not given. A name that begins
// with '/' stands for a parameter that takes no name.
class Parameters {
 public:
  Parameters(Context& context, std::string_view function, const Args& args,
             std::initializer_list<std::string_view> names, size_t required = 0);

  const Value* operator[](size_t i) const { return found_[i]; }
  // The argument, null if it was not given or is None.
  const Value* not_none(size_t i) const {
    return found_[i] && !found_[i]->is(Type::kNone) ? found_[i] : nullptr;
  }
  bool flag(size_t i, bool fallback) const {
    return found_[i] ? truth(context_, *found_[i]) : fallback;
  }
  Int integer(size_t i, Int fallback) const;
  // A string argument, or null where it was not given or is None.
  const Value* string(size_t i) const;

 private:
  Context& context_;
  std::string_view function_;
  std::vector<const Value*> found_;
};

}  // namespace flashmoe::text::jinja
