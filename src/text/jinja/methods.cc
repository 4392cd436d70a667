#include "text/jinja/methods.h"

#include <algorithm>
#include <cmath>
#include <iterator>

#include "text/jinja/format.h"
#include "text/jinja/operators.h"
#include "text/jinja/print.h"
#include "text/jinja/string_methods.h"

namespace flashmoe::text::jinja {
namespace {

Value make_view(Context& context, const Value& dict, ViewObject::Kind kind) {
  auto view = std::make_shared<ViewObject>();
  view->depth = nested_depth(context, dict.depth());
  view->kind = kind;
  view->dict = dict;
  return Value(Type::kView, std::move(view), dict.own());
}

Value dict_keys(Context& context, const Value& self, const Args& args) {
  const Parameters p(context, "keys", args, {});
  return make_view(context, self, ViewObject::kKeys);
}
Value dict_values(Context& context, const Value& self, const Args& args) {
  const Parameters p(context, "values", args, {});
  return make_view(context, self, ViewObject::kValues);
}
Value dict_items(Context& context, const Value& self, const Args& args) {
  const Parameters p(context, "items", args, {});
  return make_view(context, self, ViewObject::kItems);
}
Value dict_get(Context& context, const Value& self, const Args& args) {
  const Parameters p(context, "get", args, {"/", "/"}, 1);
  const Value* found = self.dict().find(context, *p[0]);
  return found ? *found : p[1] ? *p[1] : Value::none(true);
}
Value copy(Context& context, const Value& self, const Args& args) {
  const Parameters p(context, "copy", args, {});
  return self;  // nothing can change it
}

Value list_count(Context& context, const Value& self, const Args& args) {
  const Parameters p(context, "count", args, {"/"}, 1);
  Int count = 0;
  for (const Value& item : self.items()) count += equal(context, item, *p[0]) ? 1 : 0;
  return Value::integer(count);
}
Value list_index(Context& context, const Value& self, const Args& args) {
  const Parameters p(context, "index", args, {"/", "/", "/"}, 1);
  const Int size = static_cast<Int>(self.items().size());
  const auto bound = [&](size_t i, Int fallback) {
    const Int value = p.integer(i, fallback);
    return std::clamp(value < 0 ? value + size : value, Int{0}, size);
  };
  const Int end = bound(2, size);
  for (Int i = bound(1, 0); i < end; ++i) {
    if (equal(context, self.items()[static_cast<size_t>(i)], *p[0])) return Value::integer(i);
  }
  context.fail("{} is not in the list", repr(context, *p[0]));
}

Value float_is_integer(Context&, const Value& self, const Args&) {
  return Value::boolean(std::floor(self.real()) == self.real());
}
Value int_bit_length(Context&, const Value& self, const Args&) {
  Int bits = 0;
  for (Int rest = self.integer(); rest != 0; rest /= 2) ++bits;
  return Value::integer(bits);
}
Value conjugate(Context&, const Value& self, const Args&) { return self; }

constexpr Method kDictMethods[] = {
    {"copy", copy},        {"fromkeys", nullptr}, {"get", dict_get},
    {"items", dict_items}, {"keys", dict_keys},   {"values", dict_values},
};
constexpr Method kSequenceMethods[] = {
    {"copy", copy}, {"count", list_count}, {"index", list_index}};
constexpr Method kIntMethods[] = {
    {"as_integer_ratio", nullptr}, {"bit_count", nullptr},  {"bit_length", int_bit_length},
    {"conjugate", conjugate},      {"from_bytes", nullptr}, {"to_bytes", nullptr},
};
constexpr Method kFloatMethods[] = {
    {"as_integer_ratio", nullptr},
    {"conjugate", conjugate},
    {"fromhex", nullptr},
    {"hex", nullptr},
    {"is_integer", float_is_integer},
};

template <size_t n>
const Method* find_in(const Method (&table)[n], std::string_view name) {
  for (const Method& method : table) {
    if (name == method.name) return &method;
  }
  return nullptr;
}

template <size_t n>
bool is_any(const std::string_view (&names)[n], std::string_view name) {
  return std::find(std::begin(names), std::end(names), name) != std::end(names);
}

}  // namespace

std::optional<Value> find_method(Context& context, const Value& object, std::string_view name) {
  const Method* method = nullptr;
  switch (object.type()) {
    case Type::kString:
      method = find_string_method(name);
      break;
    case Type::kDict:
      method = find_in(kDictMethods, name);
      break;
    case Type::kList:
      method = find_in(kSequenceMethods, name);
      break;
    case Type::kTuple:
      if (static_cast<const ListObject*>(object.object())->is_group) {
        if (name == "grouper") return object.items()[0];
        if (name == "list") return object.items()[1];
      }
      if (name != "copy") method = find_in(kSequenceMethods, name);
      break;
    case Type::kBool:
    case Type::kInt:
      if (name == "real" || name == "numerator") return plus(context, object);
      if (name == "imag") return Value::integer(0, object.own());
      if (name == "denominator") return Value::integer(1, object.own());
      method = find_in(kIntMethods, name);
      break;
    case Type::kFloat:
      if (name == "real") return object;
      if (name == "imag") return Value::real(0, object.own());
      method = find_in(kFloatMethods, name);
      break;
    case Type::kRange:
      if (name == "start") return Value::integer(object.range().start, object.own());
      if (name == "stop") return Value::integer(object.range().stop, object.own());
      if (name == "step") return Value::integer(object.range().step, object.own());
      break;
    default:
      break;
  }
  if (!method) return std::nullopt;
  return make_function(
      context, fmt::format("built-in method {} of {} object", name, type_name(object)),
      object.depth(), [method, object](Context& c, Args args) {
        if (!method->run) {
          c.fail("the method '{}' of a {} is not supported", method->name, type_name(object));
        }
        return method->run(c, object, args);
      });
}

bool is_forbidden_method(const Value& object, std::string_view name) {
  static constexpr std::string_view kDict[] = {"clear", "pop", "popitem", "setdefault", "update"};
  static constexpr std::string_view kList[] = {"append", "clear", "pop",    "reverse",
                                               "insert", "sort",  "extend", "remove"};
  if (object.is(Type::kDict)) return is_any(kDict, name);
  return object.is(Type::kList) && is_any(kList, name);
}

Parameters::Parameters(Context& context, std::string_view function, const Args& args,
                       std::initializer_list<std::string_view> names, size_t required)
    : context_(context), function_(function), found_(names.size(), nullptr) {
  if (args.positional.size() > names.size()) {
    context.fail("{} takes at most {} arguments, got {}", function, names.size(),
                 args.positional.size());
  }
  for (size_t i = 0; i < args.positional.size(); ++i) found_[i] = &args.positional[i];
  for (const auto& [name, value] : args.named) {
    const auto* it = std::find(names.begin(), names.end(), std::string_view(name));
    if (it == names.end() || name == "/") context.fail("{} takes no argument '{}'", function, name);
    const size_t i = static_cast<size_t>(it - names.begin());
    if (found_[i]) context.fail("{} got the argument '{}' twice", function, name);
    found_[i] = &value;
  }
  for (size_t i = 0; i < required; ++i) {
    if (!found_[i]) context.fail("{} needs at least {} arguments", function, required);
  }
}

Int Parameters::integer(size_t i, Int fallback) const {
  return found_[i] ? to_integer(context_, *found_[i]) : fallback;
}

const Value* Parameters::string(size_t i) const {
  const Value* value = not_none(i);
  if (value && !value->is(Type::kString)) {
    if (value->is(Type::kUndefined)) context_.fail("{}", value->undefined().message);
    context_.fail("{} needs a string, not a {}", function_, type_name(*value));
  }
  return value;
}

}  // namespace flashmoe::text::jinja
