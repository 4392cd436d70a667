#include "text/jinja/operators.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>

#include "text/jinja/format.h"
#include "text/jinja/methods.h"
#include "text/jinja/print.h"
#include "text/jinja/unicode.h"
#include "text/utf8.h"

namespace flashmoe::text::jinja {
namespace {

const char* symbol(Expr::Kind op) {
  switch (op) {
    case Expr::kAdd:
      return "+";
    case Expr::kSubtract:
      return "-";
    case Expr::kMultiply:
      return "*";
    case Expr::kDivide:
      return "/";
    case Expr::kFloorDivide:
      return "//";
    case Expr::kModulo:
      return "%";
    default:
      return "**";
  }
}

[[noreturn]] void fail_operands(Context& context, Expr::Kind op, const Value& a, const Value& b) {
  if (a.is(Type::kUndefined)) context.fail("{}", a.undefined().message);
  if (b.is(Type::kUndefined)) context.fail("{}", b.undefined().message);
  context.fail("unsupported operands of {}: {} and {}", symbol(op), type_name(a), type_name(b));
}

[[noreturn]] void fail_overflow(Context& context) {
  context.fail("an integer has more than 128 bits");
}

Int floor_divide(Int a, Int b) {
  const Int quotient = a / b;
  return a % b != 0 && (a < 0) != (b < 0) ? quotient - 1 : quotient;
}

double float_modulo(double a, double b) {
  double remainder = std::fmod(a, b);
  if (remainder != 0 && (b < 0) != (remainder < 0)) remainder += b;
  return remainder == 0 ? std::copysign(0.0, b) : remainder;
}

double float_floor_divide(double a, double b) {
  const double remainder = float_modulo(a, b);
  const double quotient = (a - remainder) / b;
  if (quotient == 0) return std::copysign(0.0, a / b);
  const double floored = std::floor(quotient);
  return quotient - floored > 0.5 ? floored + 1 : floored;
}

Value integer_power(Context& context, Int base, Int exponent, bool own) {
  if (exponent < 0) {
    if (base == 0) context.fail("0 cannot be raised to a negative power");
    return Value::real(std::pow(static_cast<double>(base), static_cast<double>(exponent)), own);
  }
  Int result = 1;
  while (exponent > 0) {
    if ((exponent & 1) != 0 && __builtin_mul_overflow(result, base, &result)) {
      fail_overflow(context);
    }
    exponent >>= 1;
    if (exponent > 0 && __builtin_mul_overflow(base, base, &base)) fail_overflow(context);
  }
  return Value::integer(result, own);
}

Value integer_arithmetic(Context& context, Expr::Kind op, const Value& left, const Value& right) {
  const Int a = left.integer(), b = right.integer();
  const bool own = left.own() && right.own();
  Int result = 0;
  bool overflow = false;
  switch (op) {
    case Expr::kAdd:
      overflow = __builtin_add_overflow(a, b, &result);
      break;
    case Expr::kSubtract:
      overflow = __builtin_sub_overflow(a, b, &result);
      break;
    case Expr::kMultiply:
      overflow = __builtin_mul_overflow(a, b, &result);
      break;
    case Expr::kPower:
      return integer_power(context, a, b, own);
    default:
      if (b == 0) context.fail("division by zero");
      if (op == Expr::kDivide) {
        return Value::real(static_cast<double>(a) / static_cast<double>(b), own);
      }
      if (b == -1) {  // the smallest integer has no opposite
        overflow = op == Expr::kFloorDivide && __builtin_sub_overflow(Int{0}, a, &result);
      } else {
        result = op == Expr::kFloorDivide ? floor_divide(a, b) : a - floor_divide(a, b) * b;
      }
  }
  if (overflow) fail_overflow(context);
  return Value::integer(result, own);
}

Value float_arithmetic(Context& context, Expr::Kind op, const Value& left, const Value& right) {
  const double a = left.real(), b = right.real();
  const bool own = left.own() && right.own();
  switch (op) {
    case Expr::kAdd:
      return Value::real(a + b, own);
    case Expr::kSubtract:
      return Value::real(a - b, own);
    case Expr::kMultiply:
      return Value::real(a * b, own);
    case Expr::kPower: {
      if (a == 0 && b < 0) context.fail("0.0 cannot be raised to a negative power");
      if (a < 0 && std::floor(b) != b) context.fail("complex numbers are not supported");
      const double result = std::pow(a, b);
      if (std::isinf(result) && !std::isinf(a) && !std::isinf(b)) {
        context.fail("the result of ** is too large");
      }
      return Value::real(result, own);
    }
    default:
      break;
  }
  if (b == 0) context.fail("division by zero");
  if (op == Expr::kDivide) return Value::real(a / b, own);
  return Value::real(op == Expr::kModulo ? float_modulo(a, b) : float_floor_divide(a, b), own);
}

Value repeat(Context& context, const Value& value, const Value& count_value) {
  const Int count = std::max<Int>(to_integer(context, count_value), 0);
  const auto charge = [&](Int unit) {
    Int total = 0;
    if (__builtin_mul_overflow(unit, count, &total) || total > (Int{1} << 60)) total = Int{1} << 60;
    context.charge(static_cast<uint64_t>(total));
  };
  if (value.is(Type::kString)) {
    const MarkedText& text = value.marked();
    if (text.text.empty()) return value;
    charge(1);
    TextBuilder out(context);
    for (Int i = 0; i < count; ++i) out.append(text);
    return Value::string(out.take(), value.string_object().markup);
  }
  const auto& items = value.items();
  charge(static_cast<Int>(items.size()) * 48);
  std::vector<Value> out;
  for (Int i = 0; i < count && !items.empty(); ++i) {
    out.insert(out.end(), items.begin(), items.end());
  }
  const bool own = value.own() && count_value.own();
  return value.is(Type::kList) ? make_list(context, std::move(out), own)
                               : make_tuple(context, std::move(out), own);
}

Value add_strings(Context& context, const Value& a, const Value& b) {
  const bool markup = a.string_object().markup || b.string_object().markup;
  TextBuilder out(context);
  out.append(markup ? escape_html(context, a).marked() : a.marked());
  out.append(markup ? escape_html(context, b).marked() : b.marked());
  return Value::string(out.take(), markup);
}

std::string undefined_message(Context& context, const Value& object, const Value& key) {
  std::string type = object.is(Type::kNone) ? "None" : fmt::format("{} object", type_name(object));
  if (object.is(Type::kNamespace)) type = "jinja2.utils.Namespace object";
  if (key.is(Type::kString)) return fmt::format("'{}' has no attribute '{}'", type, key.text());
  return fmt::format("{} has no element {}", type, repr(context, key));
}

// What is undefined because the sandbox forbids it.
Value unsafe(const Value& object, std::string_view name) {
  return Value::undefined(
      fmt::format("access to attribute '{}' of '{}' object is unsafe", name, type_name(object)));
}

// Attributes that every Python object has, out of reach in the sandbox.
bool is_internal(std::string_view name) {
  static constexpr std::string_view kNames[] = {
      "__class__",   "__delattr__", "__dir__",           "__doc__",         "__eq__",
      "__format__",  "__ge__",      "__getattribute__",  "__getstate__",    "__gt__",
      "__hash__",    "__init__",    "__init_subclass__", "__le__",          "__lt__",
      "__ne__",      "__new__",     "__reduce__",        "__reduce_ex__",   "__repr__",
      "__setattr__", "__sizeof__",  "__str__",           "__subclasshook__"};
  return name.substr(0, 2) == "__" &&
         std::find(std::begin(kNames), std::end(kNames), name) != std::end(kNames);
}

// obj[key] where Python would not raise.
std::optional<Value> subscript(Context& context, const Value& object, const Value& key) {
  if (object.is(Type::kDict)) {
    if (key.is(Type::kList) || key.is(Type::kDict) || key.is(Type::kView)) return std::nullopt;
    const Value* found = object.dict().find(context, key);
    return found ? std::optional(*found) : std::nullopt;
  }
  if (!key.is_integral()) return std::nullopt;
  if (!object.is(Type::kString) && !object.is_sequence() && !object.is(Type::kRange)) {
    return std::nullopt;
  }
  const Int size = *length(context, object);
  const Int index = key.integer() < 0 ? key.integer() + size : key.integer();
  if (index < 0 || index >= size) return std::nullopt;
  if (object.is(Type::kRange)) return Value::integer(object.range().at(index), object.own());
  if (object.is_sequence()) return object.items()[static_cast<size_t>(index)];
  const size_t begin = byte_offset(object.text(), index);
  const size_t end = begin + utf8_length(static_cast<unsigned char>(object.text()[begin]));
  return Value::string(substring(context, object.marked(), begin, end),
                       object.string_object().markup);
}

}  // namespace

Value binary(Context& context, Expr::Kind op, const Value& a, const Value& b) {
  if (a.is_number() && b.is_number()) {
    return a.is(Type::kFloat) || b.is(Type::kFloat) ? float_arithmetic(context, op, a, b)
                                                    : integer_arithmetic(context, op, a, b);
  }
  if (op == Expr::kModulo && a.is(Type::kString)) return format_percent(context, a, b);
  if (op == Expr::kAdd) {
    if (a.is(Type::kString) && b.is(Type::kString)) return add_strings(context, a, b);
    if (a.is_sequence() && a.type() == b.type()) {
      std::vector<Value> items = to_vector(context, a);
      items.insert(items.end(), b.items().begin(), b.items().end());
      const bool own = a.own() && b.own();
      return a.is(Type::kList) ? make_list(context, std::move(items), own)
                               : make_tuple(context, std::move(items), own);
    }
  }
  if (op == Expr::kMultiply) {
    if ((a.is(Type::kString) || a.is_sequence()) && b.is_integral()) return repeat(context, a, b);
    if ((b.is(Type::kString) || b.is_sequence()) && a.is_integral()) return repeat(context, b, a);
  }
  fail_operands(context, op, a, b);
}

Value negate(Context& context, const Value& value) {
  if (value.is(Type::kFloat)) return Value::real(-value.real(), value.own());
  if (value.is_integral()) {
    return integer_arithmetic(context, Expr::kSubtract, Value::integer(0), value);
  }
  if (value.is(Type::kUndefined)) context.fail("{}", value.undefined().message);
  context.fail("unsupported operand of -: {}", type_name(value));
}

Value plus(Context& context, const Value& value) {
  if (value.is(Type::kFloat)) return value;
  if (value.is_integral()) return Value::integer(value.integer(), value.own());
  if (value.is(Type::kUndefined)) context.fail("{}", value.undefined().message);
  context.fail("unsupported operand of +: {}", type_name(value));
}

bool contains(Context& context, const Value& container, const Value& item) {
  switch (container.type()) {
    case Type::kString:
      if (!item.is(Type::kString)) {
        if (item.is(Type::kUndefined)) context.fail("{}", item.undefined().message);
        context.fail("only strings can be in a string, not a {}", type_name(item));
      }
      context.charge(container.text().size() / 8);
      return container.text().find(item.text()) != std::string::npos;
    case Type::kDict:
      return container.dict().find(context, item) != nullptr;
    case Type::kView:
      if (container.view().kind == ViewObject::kKeys) {
        return container.view().dict.dict().find(context, item) != nullptr;
      }
      break;
    default:
      break;
  }
  const Iteration next = iterate(context, container);
  for (Value other; next(context, &other);) {
    if (equal(context, other, item)) return true;
  }
  return false;
}

bool compare(Context& context, Expr::Operator op, const Value& a, const Value& b) {
  const bool unordered =
      (a.is(Type::kFloat) && std::isnan(a.real())) || (b.is(Type::kFloat) && std::isnan(b.real()));
  switch (op) {
    case Expr::kEq:
      return equal(context, a, b);
    case Expr::kNe:
      return !equal(context, a, b);
    case Expr::kLt:
      return less(context, a, b);
    case Expr::kGt:
      return less(context, b, a);
    case Expr::kLe:
      return !less(context, b, a) && !(unordered && a.is_number() && b.is_number());
    case Expr::kGe:
      return !less(context, a, b) && !(unordered && a.is_number() && b.is_number());
    case Expr::kIn:
      return contains(context, b, a);
    case Expr::kNotIn:
      return !contains(context, b, a);
  }
  return false;
}

std::optional<Value> find_attribute(Context& context, const Value& object, std::string_view name) {
  switch (object.type()) {
    case Type::kUndefined:
      context.fail("{}", object.undefined().message);
    case Type::kNamespace: {
      const Value* found = object.name_space().attributes.find(name);
      return found ? std::optional(*found) : std::nullopt;
    }
    case Type::kFunction:
      for (const auto& [attribute, value] : object.function().attributes) {
        if (attribute == name) return value;
      }
      break;
    case Type::kObject:
      if (auto found = object.attribute_object().attribute(context, name)) return found;
      break;
    default:
      break;
  }
  if (is_internal(name) || is_forbidden_method(object, name)) return unsafe(object, name);
  return find_method(context, object, name);
}

Value get_attribute(Context& context, const Value& object, const Value& name) {
  if (auto found = find_attribute(context, object, name.text())) return *found;
  if (auto found = subscript(context, object, name)) return *found;
  return Value::undefined(undefined_message(context, object, name));
}

Value get_item(Context& context, const Value& object, const Value& key) {
  if (object.is(Type::kUndefined)) context.fail("{}", object.undefined().message);
  if (auto found = subscript(context, object, key)) return *found;
  if (key.is(Type::kString)) {
    if (auto found = find_attribute(context, object, key.text())) return *found;
  }
  return Value::undefined(undefined_message(context, object, key));
}

size_t byte_offset(const std::string& text, Int index) {
  size_t pos = 0;
  for (; index > 0; --index) pos += utf8_length(static_cast<unsigned char>(text[pos]));
  return pos;
}

Value slice(Context& context, const Value& object, const Value& start_value,
            const Value& stop_value, const Value& step_value) {
  if (object.is(Type::kUndefined)) context.fail("{}", object.undefined().message);
  if (!object.is(Type::kString) && !object.is_sequence() && !object.is(Type::kRange)) {
    context.fail("a {} cannot be sliced", type_name(object));
  }
  const auto index = [&](const Value& value, Int fallback) {
    if (value.is(Type::kNone)) return fallback;
    if (!value.is_integral()) context.fail("a slice needs integers, not a {}", type_name(value));
    return value.integer();
  };
  const Int size = *length(context, object);
  const Int step = index(step_value, 1);
  if (step == 0) context.fail("the step of a slice cannot be zero");
  const Int low = step > 0 ? 0 : -1, high = step > 0 ? size : size - 1;
  const auto clamp = [&](Int i) { return std::clamp(i < 0 ? i + size : i, low, high); };
  const Int start =
      start_value.is(Type::kNone) ? (step > 0 ? low : high) : clamp(index(start_value, 0));
  const Int stop =
      stop_value.is(Type::kNone) ? (step > 0 ? high : low) : clamp(index(stop_value, 0));
  RangeObject range;
  range.start = start;
  range.stop = stop;
  range.step = std::clamp(step, -(size + 1), size + 1);  // as good as any larger one
  const Int count = range.size();

  if (object.is(Type::kRange)) {
    auto sliced = std::make_shared<RangeObject>();
    sliced->start = object.range().at(start);
    sliced->stop = object.range().at(stop);
    if (__builtin_mul_overflow(object.range().step, range.step, &sliced->step) ||
        sliced->step > kMaxRangeBound || sliced->step < -kMaxRangeBound) {
      fail_overflow(context);
    }
    return Value(Type::kRange, std::move(sliced), object.own());
  }
  if (object.is_sequence()) {
    std::vector<Value> items;
    for (Int i = 0; i < count; ++i) {
      items.push_back(object.items()[static_cast<size_t>(range.at(i))]);
    }
    return object.is(Type::kList) ? make_list(context, std::move(items), object.own())
                                  : make_tuple(context, std::move(items), object.own());
  }
  const MarkedText& text = object.marked();
  context.charge(text.text.size() / 16);
  TextBuilder out(context);
  if (range.step == 1) {
    if (count > 0) {
      const size_t begin = byte_offset(text.text, start);
      size_t end = begin;
      for (Int i = 0; i < count; ++i)
        end += utf8_length(static_cast<unsigned char>(text.text[end]));
      out.append(text, begin, end);
    }
  } else {
    std::vector<size_t> offsets;
    for (size_t pos = 0; pos < text.text.size();) {
      offsets.push_back(pos);
      pos += utf8_length(static_cast<unsigned char>(text.text[pos]));
    }
    for (Int i = 0; i < count; ++i) {
      const size_t begin = offsets[static_cast<size_t>(range.at(i))];
      out.append(text, begin, begin + utf8_length(static_cast<unsigned char>(text.text[begin])));
    }
  }
  return Value::string(out.take(), object.string_object().markup);
}

Value call(Context& context, const Value& callee, Args args) {
  const Context::Level level(context);
  if (callee.is(Type::kFunction)) return callee.function().call(context, std::move(args));
  if (callee.is(Type::kObject)) return callee.attribute_object().call(context, std::move(args));
  if (callee.is(Type::kUndefined)) context.fail("{}", callee.undefined().message);
  context.fail("a {} cannot be called", type_name(callee));
}

bool is_callable(const Value& value) {
  return value.is(Type::kFunction) || value.is(Type::kUndefined) ||
         (value.is(Type::kObject) && value.attribute_object().callable());
}

Int to_integer(Context& context, const Value& value) {
  if (value.is(Type::kUndefined)) context.fail("{}", value.undefined().message);
  if (!value.is_integral()) context.fail("expected an integer, got a {}", type_name(value));
  return value.integer();
}

std::optional<Int> parse_integer(std::string_view text, int base) {
  std::string digits;  // of the text without white space, in ASCII
  for (size_t pos = 0; pos < text.size();) {
    const char32_t c = utf8_decode(text, pos);
    pos += utf8_length(static_cast<unsigned char>(text[pos]));
    const int value = decimal_value(c);
    if (value >= 0) {
      digits += static_cast<char>('0' + value);
    } else if (is_space(c)) {
      digits += ' ';
    } else if (c < 0x80) {
      digits += static_cast<char>(c);
    } else {
      return std::nullopt;
    }
  }
  const size_t first = digits.find_first_not_of(' ');
  if (first == std::string::npos) return std::nullopt;
  digits = digits.substr(first, digits.find_last_not_of(' ') - first + 1);
  size_t pos = 0;
  const bool negative = digits[0] == '-';
  if (negative || digits[0] == '+') ++pos;
  bool prefixed = false;
  if (pos + 1 < digits.size() && digits[pos] == '0') {
    const char mark = static_cast<char>(digits[pos + 1] | 0x20);
    const int marked = mark == 'x' ? 16 : mark == 'o' ? 8 : mark == 'b' ? 2 : 0;
    if (marked != 0 && (base == marked || base == 0)) {
      base = marked;
      pos += 2;
      prefixed = true;
      if (pos < digits.size() && digits[pos] == '_') ++pos;
    }
  }
  const bool guess = base == 0;
  if (guess) base = 10;
  if (pos >= digits.size()) return std::nullopt;
  const bool leading_zero = digits[pos] == '0';
  Int result = 0;
  bool after_digit = false;
  for (; pos < digits.size(); ++pos) {
    const char c = digits[pos];
    if (c == '_') {
      if (!after_digit) return std::nullopt;
      after_digit = false;
      continue;
    }
    const int lower = c | 0x20;
    const int value = c >= '0' && c <= '9'           ? c - '0'
                      : lower >= 'a' && lower <= 'z' ? lower - 'a' + 10
                                                     : 99;
    if (value >= base) return std::nullopt;
    if (__builtin_mul_overflow(result, static_cast<Int>(base), &result) ||
        __builtin_add_overflow(result, static_cast<Int>(value), &result)) {
      return std::nullopt;
    }
    after_digit = true;
  }
  if (!after_digit) return std::nullopt;
  if (guess && !prefixed && leading_zero && result != 0) return std::nullopt;
  return negative ? -result : result;
}

std::optional<double> parse_float(std::string_view text) {
  std::string plain;
  for (size_t pos = 0; pos < text.size();) {
    const char32_t c = utf8_decode(text, pos);
    pos += utf8_length(static_cast<unsigned char>(text[pos]));
    const int value = decimal_value(c);
    if (value >= 0) {
      plain += static_cast<char>('0' + value);
    } else if (is_space(c)) {
      plain += ' ';
    } else if (c < 0x80) {
      plain += static_cast<char>(c | (c >= 'A' && c <= 'Z' ? 0x20 : 0));
    } else {
      return std::nullopt;
    }
  }
  const size_t first = plain.find_first_not_of(' ');
  if (first == std::string::npos) return std::nullopt;
  plain = plain.substr(first, plain.find_last_not_of(' ') - first + 1);
  const std::string_view body =
      std::string_view(plain).substr(plain[0] == '-' || plain[0] == '+' ? 1 : 0);
  if (body == "inf" || body == "infinity" || body == "nan") {
    const double value = body == "nan" ? std::nan("") : HUGE_VAL;
    return plain[0] == '-' ? -value : value;
  }
  std::string digits;
  for (size_t i = 0; i < plain.size(); ++i) {
    const char c = plain[i];
    const auto is_ascii_digit = [&](size_t at) {
      return at < plain.size() && plain[at] >= '0' && plain[at] <= '9';
    };
    if (c == '_') {
      if (i == 0 || !is_ascii_digit(i - 1) || !is_ascii_digit(i + 1)) return std::nullopt;
    } else if (is_ascii_digit(i) || c == '.' || c == 'e' || c == '+' || c == '-') {
      digits += c;
    } else {
      return std::nullopt;
    }
  }
  char* end = nullptr;
  const double value = std::strtod(digits.c_str(), &end);
  if (end == digits.c_str() || *end != 0) return std::nullopt;
  return value;
}

}  // namespace flashmoe::text::jinja
