#include "text/jinja/tests.h"

#include <algorithm>
#include <iterator>

#include "text/jinja/filters.h"
#include "text/jinja/methods.h"
#include "text/jinja/operators.h"
#include "text/jinja/print.h"

namespace flashmoe::text::jinja {
namespace {

void no_arguments(Context& context, const char* name, const Args& args) {
  const Parameters p(context, name, args, {});
}

Value remainder(Context& context, const Value& value, const Value& divisor) {
  return binary(context, Expr::kModulo, value, divisor);
}

bool test_odd(Context& c, const Value& v, const Args& args) {
  no_arguments(c, "odd", args);
  return equal(c, remainder(c, v, Value::integer(2)), Value::integer(1));
}
bool test_even(Context& c, const Value& v, const Args& args) {
  no_arguments(c, "even", args);
  return equal(c, remainder(c, v, Value::integer(2)), Value::integer(0));
}
bool test_divisibleby(Context& c, const Value& v, const Args& args) {
  const Parameters p(c, "divisibleby", args, {"num"}, 1);
  return equal(c, remainder(c, v, *p[0]), Value::integer(0));
}

template <Type type>
bool test_type(Context& c, const Value& v, const Args& args) {
  no_arguments(c, "the test", args);
  return v.is(type);
}
bool test_defined(Context& c, const Value& v, const Args& args) {
  no_arguments(c, "defined", args);
  return !v.is(Type::kUndefined);
}
bool test_false(Context& c, const Value& v, const Args& args) {
  no_arguments(c, "false", args);
  return v.is(Type::kBool) && !v.boolean();
}
bool test_true(Context& c, const Value& v, const Args& args) {
  no_arguments(c, "true", args);
  return v.is(Type::kBool) && v.boolean();
}
bool test_number(Context& c, const Value& v, const Args& args) {
  no_arguments(c, "number", args);
  return v.is_number();
}
bool test_sequence(Context& c, const Value& v, const Args& args) {
  no_arguments(c, "sequence", args);
  return v.is(Type::kString) || v.is_sequence() || v.is(Type::kDict) || v.is(Type::kRange) ||
         v.is(Type::kUndefined);
}
bool test_iterable(Context& c, const Value& v, const Args& args) {
  no_arguments(c, "iterable", args);
  return is_iterable(v);
}
bool test_callable(Context& c, const Value& v, const Args& args) {
  no_arguments(c, "callable", args);
  return is_callable(v);
}
bool test_escaped(Context& c, const Value& v, const Args& args) {
  no_arguments(c, "escaped", args);
  return v.is(Type::kString) && v.string_object().markup;
}
bool test_lower(Context& c, const Value& v, const Args& args) {
  no_arguments(c, "lower", args);
  const Value text = to_str(c, v);
  return truth(c, call(c, *find_method(c, text, "islower"), {}));
}
bool test_upper(Context& c, const Value& v, const Args& args) {
  no_arguments(c, "upper", args);
  const Value text = to_str(c, v);
  return truth(c, call(c, *find_method(c, text, "isupper"), {}));
}
bool test_sameas(Context& c, const Value& v, const Args& args) {
  const Parameters p(c, "sameas", args, {"other"}, 1);
  const Value& other = *p[0];
  if (v.type() != other.type()) return false;
  if (v.is(Type::kNone)) return true;
  if (v.is_integral()) return v.integer() == other.integer();
  if (v.is(Type::kFloat)) return v.real() == other.real();
  if (v.is(Type::kString)) return v.text() == other.text();
  return v.object() == other.object();
}
bool test_in(Context& c, const Value& v, const Args& args) {
  const Parameters p(c, "in", args, {"seq"}, 1);
  return contains(c, *p[0], v);
}
bool test_filter(Context& c, const Value& v, const Args& args) {
  no_arguments(c, "filter", args);
  return v.is(Type::kString) && find_filter(v.text());
}
bool test_test(Context& c, const Value& v, const Args& args) {
  no_arguments(c, "test", args);
  return v.is(Type::kString) && find_test(v.text());
}

template <Expr::Operator op>
bool test_compare(Context& c, const Value& v, const Args& args) {
  const Parameters p(c, "a comparison", args, {"/"}, 1);
  return compare(c, op, v, *p[0]);
}

struct NamedTest {
  std::string_view name;
  Test test;
};

constexpr NamedTest kTests[] = {
    {"!=", test_compare<Expr::kNe>},
    {"<", test_compare<Expr::kLt>},
    {"<=", test_compare<Expr::kLe>},
    {"==", test_compare<Expr::kEq>},
    {">", test_compare<Expr::kGt>},
    {">=", test_compare<Expr::kGe>},
    {"boolean", test_type<Type::kBool>},
    {"callable", test_callable},
    {"defined", test_defined},
    {"divisibleby", test_divisibleby},
    {"eq", test_compare<Expr::kEq>},
    {"equalto", test_compare<Expr::kEq>},
    {"escaped", test_escaped},
    {"even", test_even},
    {"false", test_false},
    {"filter", test_filter},
    {"float", test_type<Type::kFloat>},
    {"ge", test_compare<Expr::kGe>},
    {"greaterthan", test_compare<Expr::kGt>},
    {"gt", test_compare<Expr::kGt>},
    {"in", test_in},
    {"integer", test_type<Type::kInt>},
    {"iterable", test_iterable},
    {"le", test_compare<Expr::kLe>},
    {"lessthan", test_compare<Expr::kLt>},
    {"lower", test_lower},
    {"lt", test_compare<Expr::kLt>},
    {"mapping", test_type<Type::kDict>},
    {"ne", test_compare<Expr::kNe>},
    {"none", test_type<Type::kNone>},
    {"number", test_number},
    {"odd", test_odd},
    {"sameas", test_sameas},
    {"sequence", test_sequence},
    {"string", test_type<Type::kString>},
    {"test", test_test},
    {"true", test_true},
    {"undefined", test_type<Type::kUndefined>},
    {"upper", test_upper},
};

}  // namespace

Test find_test(std::string_view name) {
  const auto* it =
      std::lower_bound(std::begin(kTests), std::end(kTests), name,
                       [](const NamedTest& t, std::string_view n) { return t.name < n; });
  return it != std::end(kTests) && it->name == name ? it->test : nullptr;
}

}  // namespace flashmoe::text::jinja
