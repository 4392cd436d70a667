#include "text/jinja/format.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <optional>

#include "text/jinja/operators.h"
#include "text/jinja/print.h"
#include "text/jinja/text_builder.h"
#include "text/jinja/unicode.h"
#include "text/utf8.h"

namespace flashmoe::text::jinja {
namespace {

using std::string_view;

constexpr int kMaxPrecision = 1000;  // of a number; more is noise

// Digits with the sign apart, so that zeros go between them.
struct Number {
  std::string sign;    // "", "-", "+" or " "
  std::string prefix;  // "0x" and the like
  std::string digits;
};

std::string sign_of(bool negative, char wanted) {
  if (negative) return "-";
  return wanted == '+' || wanted == ' ' ? std::string(1, wanted) : std::string();
}

std::string digits_in_base(Int value, int base, bool upper_case) {
  unsigned __int128 rest =
      value < 0 ? -static_cast<unsigned __int128>(value) : static_cast<unsigned __int128>(value);
  std::string digits;
  do {
    const int digit = static_cast<int>(rest % static_cast<unsigned>(base));
    digits += static_cast<char>(digit < 10 ? '0' + digit : (upper_case ? 'A' : 'a') + digit - 10);
    rest /= static_cast<unsigned>(base);
  } while (rest != 0);
  std::reverse(digits.begin(), digits.end());
  return digits;
}

Number integer_number(Int value, char type, char sign, bool alternate) {
  const int base = type == 'b' ? 2 : type == 'o' ? 8 : (type | 0x20) == 'x' ? 16 : 10;
  Number out{sign_of(value < 0, sign), "", digits_in_base(value, base, type == 'X')};
  if (alternate && base != 10) out.prefix = {'0', type};
  return out;
}

// The character with the number `value`.
std::string character(Context& context, const Value& value) {
  const Int code = value.integer();
  if (code < 0 || code > 0x10ffff || (code >= 0xd800 && code < 0xe000)) {
    context.fail("the format 'c' needs the number of a character");
  }
  std::string text;
  utf8_append(static_cast<char32_t>(code), &text);
  return text;
}

std::string to_upper_ascii(std::string text) {
  for (char& c : text) {
    if (c >= 'a' && c <= 'z') c = static_cast<char>(c - 0x20);
  }
  return text;
}

Number float_number(Context& context, double value, char type, int precision, char sign,
                    bool alternate) {
  if (precision > kMaxPrecision) context.fail("a precision of more than {} digits", kMaxPrecision);
  context.charge(400);
  const bool negative = std::signbit(value) && !std::isnan(value);
  const double magnitude = std::abs(value);
  const char kind = static_cast<char>(type | 0x20);
  Number out{sign_of(negative, sign), "", ""};
  if (!std::isfinite(magnitude)) {
    out.digits = std::isnan(magnitude) ? "nan" : "inf";
  } else if (type == '%') {
    out.digits = format_double(magnitude * 100, 'f', precision, alternate);
  } else {
    out.digits = format_double(magnitude, kind, precision, alternate);
  }
  if (type == '%') out.digits += '%';
  if (type >= 'A' && type <= 'Z') out.digits = to_upper_ascii(out.digits);
  return out;
}

void append_number(const Number& number, Int zero_width, bool own, TextBuilder* out) {
  out->append(number.sign + number.prefix, own);
  const Int size =
      static_cast<Int>(number.sign.size() + number.prefix.size() + number.digits.size());
  for (Int i = size; i < zero_width; ++i) out->append("0", own);
  out->append(number.digits, own);
}

// Pads `text` with `fill`: 0 at its end, 1 at its beginning, 2 around it.
enum class Align { kLeft, kRight, kCenter };
void append_padded(Context& context, const MarkedText& text, Int width, Align align,
                   string_view fill, TextBuilder* out) {
  const Int missing = std::max<Int>(width - *length(context, Value::string(text)), 0);
  const Int left = align == Align::kLeft ? 0 : align == Align::kRight ? missing : missing / 2;
  for (Int i = 0; i < left; ++i) out->append(fill, true);
  out->append(text);
  for (Int i = left; i < missing; ++i) out->append(fill, true);
}

MarkedText cut(Context& context, const MarkedText& text, std::optional<Int> code_points) {
  if (!code_points || *length(context, Value::string(text)) <= *code_points) return text;
  return substring(context, text, 0, byte_offset(text.text, *code_points));
}

// repr with everything beyond ASCII escaped.
MarkedText ascii_repr(Context& context, const Value& value) {
  TextBuilder plain(context);
  append_repr(context, value, &plain);
  const MarkedText text = plain.take();
  TextBuilder out(context);
  for (size_t pos = 0; pos < text.text.size();) {
    const size_t end = pos + utf8_length(static_cast<unsigned char>(text.text[pos]));
    const auto code = static_cast<uint32_t>(utf8_decode(text.text, pos));
    bool own = false;
    for_each_run(text, pos, end, [&](size_t, size_t, bool run_own) { own = run_own; });
    if (code < 0x80) {
      out.append(text, pos, end);
    } else {
      out.append(code < 0x100     ? fmt::format("\\x{:02x}", code)
                 : code < 0x10000 ? fmt::format("\\u{:04x}", code)
                                  : fmt::format("\\U{:08x}", code),
                 own);
    }
    pos = end;
  }
  return out.take();
}

Value convert(Context& context, const Value& value, char conversion) {
  if (conversion == 'a') return Value::string(ascii_repr(context, value));
  if (conversion == 's') return to_str(context, value);
  TextBuilder out(context);
  append_repr(context, value, &out);
  return Value::string(out.take());
}

Int parse_count(Context& context, string_view text, size_t* pos) {
  Int value = 0;
  while (*pos < text.size() && text[*pos] >= '0' && text[*pos] <= '9') {
    value = value * 10 + (text[(*pos)++] - '0');
    if (value > (Int{1} << 31)) context.fail("too many digits in a format");
  }
  return value;
}

// ---------------------------------------------------------------------------------------------
// The % operator.

class PercentFormatter {
 public:
  PercentFormatter(Context& context, const Value& format, const Value& args)
      : context_(context), format_(format), args_(args), out_(context) {}

  Value run() {
    const MarkedText& text = format_.marked();
    size_t pos = 0;
    while (true) {
      const size_t percent = text.text.find('%', pos);
      if (percent == std::string::npos) break;
      out_.append(text, pos, percent);
      pos = percent + 1;
      directive(text.text, &pos);
    }
    out_.append(text, pos, text.text.size());
    const bool is_mapping = args_.is(Type::kDict) || args_.is(Type::kList) ||
                            args_.is(Type::kRange) || args_.is(Type::kUndefined);
    if (!is_mapping && next_ < count()) {
      context_.fail("not all arguments were used by the format string");
    }
    return Value::string(out_.take(), format_.string_object().markup);
  }

 private:
  size_t count() const { return args_.is(Type::kTuple) ? args_.items().size() : 1; }

  const Value& next_argument() {
    if (next_ >= count()) context_.fail("not enough arguments for the format string");
    const size_t i = next_++;
    return args_.is(Type::kTuple) ? args_.items()[i] : args_;
  }

  void directive(const std::string& text, size_t* pos) {
    std::optional<Value> keyed;
    if (*pos < text.size() && text[*pos] == '(') {
      if (!args_.is(Type::kDict)) context_.fail("the format string needs a dict");
      size_t depth = 1, end = *pos + 1;
      for (; end < text.size() && depth > 0; ++end) {
        if (text[end] == '(') ++depth;
        if (text[end] == ')') --depth;
      }
      if (depth > 0) context_.fail("incomplete key in a format string");
      const std::string key = text.substr(*pos + 1, end - *pos - 2);
      const Value* found = args_.dict().find(key);
      if (!found) context_.fail("the format string needs the key '{}'", key);
      keyed = *found;
      *pos = end;
    }
    bool left = false, zero = false, alternate = false;
    char sign = 0;
    for (; *pos < text.size(); ++*pos) {
      const char c = text[*pos];
      if (c == '-') {
        left = true;
      } else if (c == '0') {
        zero = true;
      } else if (c == '#') {
        alternate = true;
      } else if (c == '+' || (c == ' ' && sign != '+')) {
        sign = c;
      } else if (c != ' ') {
        break;
      }
    }
    const auto number = [&]() -> Int {
      if (*pos < text.size() && text[*pos] == '*') {
        ++*pos;
        return to_integer(context_, next_argument());
      }
      return parse_count(context_, text, pos);
    };
    Int width = number();
    if (width < 0) {
      left = true;
      width = -width;
    }
    std::optional<Int> precision;
    if (*pos < text.size() && text[*pos] == '.') {
      ++*pos;
      precision = std::max<Int>(number(), 0);
    }
    if (*pos < text.size() && (text[*pos] == 'h' || text[*pos] == 'l' || text[*pos] == 'L')) ++*pos;
    if (*pos >= text.size()) context_.fail("incomplete format");
    const char type = text[(*pos)++];
    if (type == '%') {
      out_.append("%", true);
      return;
    }
    const Value value = keyed ? *keyed : next_argument();
    TextBuilder piece(context_);
    append(value, type, sign, alternate, precision, zero && !left ? width : 0, &piece);
    append_padded(context_, piece.take(), width, left ? Align::kLeft : Align::kRight, " ", &out_);
  }

  void append(const Value& value, char type, char sign, bool alternate,
              std::optional<Int> precision, Int zero_width, TextBuilder* out) {
    const bool markup = format_.string_object().markup;
    switch (type) {
      case 's':
      case 'r':
      case 'a': {
        Value text = type == 's' && markup ? value : convert(context_, value, type);
        if (markup) text = escape_html(context_, text);
        out->append(cut(context_, text.marked(), precision));
        return;
      }
      case 'c':
        return append_character(value, out);
      case 'd':
      case 'i':
      case 'u':
      case 'x':
      case 'X':
      case 'o': {
        Int integer = 0;
        if (value.is(Type::kFloat) && (type == 'd' || type == 'i' || type == 'u')) {
          if (!(std::abs(value.real()) < 1e37)) context_.fail("the number is too large");
          integer = static_cast<Int>(value.real());
        } else if (value.is_integral()) {
          integer = value.integer();
        } else {
          fail_type(value, "a number");
        }
        Number number = integer_number(integer, type, sign, alternate);
        if (precision) {
          if (*precision > kMaxPrecision) context_.fail("too many digits in a format");
          while (static_cast<Int>(number.digits.size()) < *precision) {
            number.digits.insert(0, 1, '0');
          }
        }
        append_number(number, zero_width, value.own(), out);
        return;
      }
      case 'e':
      case 'E':
      case 'f':
      case 'F':
      case 'g':
      case 'G':
        if (!value.is_number()) fail_type(value, "a number");
        append_number(float_number(context_, value.real(), type,
                                   static_cast<int>(std::min<Int>(precision.value_or(6), 1 << 20)),
                                   sign, alternate),
                      zero_width, value.own(), out);
        return;
      default:
        context_.fail("unsupported format character '{}'", type);
    }
  }

  void append_character(const Value& value, TextBuilder* out) {
    if (value.is(Type::kString) && *length(context_, value) == 1) {
      out->append(value.marked());
      return;
    }
    if (!value.is_integral()) fail_type(value, "a character");
    out->append(character(context_, value), value.own());
  }

  [[noreturn]] void fail_type(const Value& value, const char* wanted) {
    if (value.is(Type::kUndefined)) context_.fail("{}", value.undefined().message);
    context_.fail("the format needs {}, not a {}", wanted, type_name(value));
  }

  Context& context_;
  const Value& format_;
  const Value& args_;
  TextBuilder out_;
  size_t next_ = 0;
};

// ---------------------------------------------------------------------------------------------
// str.format.

struct Spec {
  std::string fill = " ";
  char align = 0;  // < > ^ =
  char sign = '-';
  bool alternate = false;
  Int width = 0;
  char grouping = 0;  // , or _
  std::optional<Int> precision;
  char type = 0;
};

Spec parse_spec(Context& context, string_view text) {
  Spec spec;
  size_t pos = 0;
  const auto is_align = [&](size_t at) {
    return at < text.size() && string_view("<>=^").find(text[at]) != string_view::npos;
  };
  bool zero = false;
  if (!text.empty()) {
    const size_t first = utf8_length(static_cast<unsigned char>(text[0]));
    if (is_align(first)) {
      spec.fill = text.substr(0, first);
      spec.align = text[first];
      pos = first + 1;
    } else if (is_align(0)) {
      spec.align = text[0];
      pos = 1;
    }
  }
  const auto take = [&](char c) {
    if (pos >= text.size() || text[pos] != c) return false;
    ++pos;
    return true;
  };
  for (const char c : {'+', '-', ' '}) {
    if (take(c)) {
      spec.sign = c;
      break;
    }
  }
  spec.alternate = take('#');
  zero = take('0');
  if (zero && spec.align == 0) {
    spec.align = '=';
    spec.fill.assign(1, '0');
  }
  spec.width = parse_count(context, text, &pos);
  for (const char c : {',', '_'}) {
    if (take(c)) {
      spec.grouping = c;
      break;
    }
  }
  if (take('.')) {
    if (pos >= text.size() || text[pos] < '0' || text[pos] > '9') {
      context.fail("a format specifier lacks its precision");
    }
    spec.precision = parse_count(context, text, &pos);
  }
  if (pos < text.size()) spec.type = text[pos++];
  if (pos != text.size()) context.fail("invalid format specifier '{}'", text);
  return spec;
}

void group_digits(const Spec& spec, Number* number) {
  if (spec.grouping == 0) return;
  const bool decimal = spec.type != 'b' && spec.type != 'o' && (spec.type | 0x20) != 'x';
  const size_t group = decimal ? 3 : 4;
  size_t end = 0;
  while (end < number->digits.size() &&
         std::isxdigit(static_cast<unsigned char>(number->digits[end])) &&
         !(decimal && (number->digits[end] | 0x20) == 'e')) {
    ++end;
  }
  for (size_t pos = end; pos > group; pos -= group) {
    number->digits.insert(pos - group, 1, spec.grouping);
  }
}

class BraceFormatter {
 public:
  BraceFormatter(Context& context, const Args& args, bool markup)
      : context_(context), args_(args), markup_(markup) {}

  MarkedText run(const MarkedText& text, int levels) {
    if (levels < 0) context_.fail("format specifiers nest too deeply");
    TextBuilder out(context_);
    size_t pos = 0;
    while (pos < text.text.size()) {
      const size_t brace = text.text.find_first_of("{}", pos);
      if (brace == std::string::npos) break;
      out.append(text, pos, brace);
      if (brace + 1 < text.text.size() && text.text[brace + 1] == text.text[brace]) {
        out.append(text, brace, brace + 1);
        pos = brace + 2;
        continue;
      }
      if (text.text[brace] == '}') context_.fail("single '}}' in a format string");
      pos = field(text, brace + 1, levels, &out);
    }
    if (pos < text.text.size()) out.append(text, pos, text.text.size());
    return out.take();
  }

 private:
  // Formats the field whose name begins at `begin`; returns where the text goes on.
  size_t field(const MarkedText& text, size_t begin, int levels, TextBuilder* out) {
    const std::string& bytes = text.text;
    size_t depth = 1, end = begin;
    for (; end < bytes.size(); ++end) {
      if (bytes[end] == '{') ++depth;
      if (bytes[end] == '}' && --depth == 0) break;
    }
    if (end >= bytes.size()) context_.fail("expected '}}' before the end of a format string");
    size_t name_end = begin;
    for (bool in_index = false; name_end < end; ++name_end) {
      const char c = bytes[name_end];
      if (c == '[') in_index = true;
      if (c == ']') in_index = false;
      if (!in_index && (c == '!' || c == ':')) break;
    }
    Value value = lookup(string_view(bytes).substr(begin, name_end - begin));
    size_t pos = name_end;
    if (pos < end && bytes[pos] == '!') {
      const char conversion = pos + 1 < end ? bytes[pos + 1] : 0;
      if (conversion != 's' && conversion != 'r' && conversion != 'a') {
        context_.fail("unknown conversion in a format string");
      }
      value = convert(context_, value, conversion);
      pos += 2;
      if (pos < end && bytes[pos] != ':') context_.fail("expected ':' after a conversion");
    }
    std::string spec;
    if (pos < end) {
      spec = run(substring(context_, text, pos + 1, end), levels - 1).text;
    }
    append_formatted(value, spec, out);
    return end + 1;
  }

  Value lookup(string_view name) {
    const size_t first_end = std::min(name.find_first_of(".["), name.size());
    const string_view first = name.substr(0, first_end);
    Value value = argument(first);
    for (size_t pos = first_end; pos < name.size();) {
      if (name[pos] == '.') {
        const size_t end = std::min(name.find_first_of(".[", pos + 1), name.size());
        if (end == pos + 1) context_.fail("empty attribute in a format string");
        value = get_attribute(context_, value,
                              Value::literal(std::string(name.substr(pos + 1, end - pos - 1))));
        pos = end;
      } else if (name[pos] == '[') {
        const size_t end = name.find(']', pos);
        if (end == string_view::npos) context_.fail("missing ']' in a format string");
        const string_view key = name.substr(pos + 1, end - pos - 1);
        if (key.empty()) context_.fail("empty attribute in a format string");
        const bool is_index = key.find_first_not_of("0123456789") == string_view::npos;
        size_t at = 0;
        value = get_item(context_, value,
                         is_index ? Value::integer(parse_count(context_, key, &at))
                                  : Value::literal(std::string(key)));
        pos = end + 1;
      } else {
        context_.fail("only '.' or '[' may follow ']' in a format string");
      }
    }
    return value;
  }

  Value argument(string_view name) {
    const bool is_index =
        !name.empty() && name.find_first_not_of("0123456789") == string_view::npos;
    if (name.empty() || is_index) {
      if (manual_ && *manual_ != is_index) {
        context_.fail("numbered and unnumbered fields cannot be mixed in a format string");
      }
      manual_ = is_index;
      size_t pos = 0;
      const Int index = is_index ? parse_count(context_, name, &pos) : Int(next_++);
      if (index >= static_cast<Int>(args_.positional.size())) {
        context_.fail("the format string needs more arguments");
      }
      return args_.positional[static_cast<size_t>(index)];
    }
    for (const auto& [key, value] : args_.named) {
      if (key == name) return value;
    }
    context_.fail("the format string needs the argument '{}'", name);
  }

  void append_formatted(const Value& value, const std::string& spec_text, TextBuilder* out) {
    if (markup_) {
      const bool is_markup = value.is(Type::kString) && value.string_object().markup;
      if (is_markup && !spec_text.empty()) context_.fail("unsupported format of markup");
      TextBuilder plain(context_);
      format_value(value, spec_text, &plain);
      out->append(escape_html(context_, Value::string(plain.take(), is_markup)).marked());
    } else {
      format_value(value, spec_text, out);
    }
  }

  void format_value(const Value& value, const std::string& spec_text, TextBuilder* out) {
    if (spec_text.empty()) return append_str(context_, value, out);
    if (value.is(Type::kString)) {
      const Spec spec = parse_spec(context_, spec_text);
      if ((spec.type != 0 && spec.type != 's') || spec.align == '=' || spec.sign != '-' ||
          spec.alternate || spec.grouping != 0) {
        // '0' before the width is allowed and fills at the end
        if (spec.align != '=' || spec.fill != "0" || (spec.type != 0 && spec.type != 's')) {
          context_.fail("invalid format specifier '{}' for a string", spec_text);
        }
      }
      const Align align = spec.align == '>'   ? Align::kRight
                          : spec.align == '^' ? Align::kCenter
                                              : Align::kLeft;
      append_padded(context_, cut(context_, value.marked(), spec.precision), spec.width, align,
                    spec.fill, out);
      return;
    }
    if (!value.is_number()) {
      context_.fail("a {} cannot be formatted with '{}'", type_name(value), spec_text);
    }
    format_number(value, parse_spec(context_, spec_text), spec_text, out);
  }

  void format_number(const Value& value, const Spec& spec, const std::string& spec_text,
                     TextBuilder* out) {
    const char type = spec.type;
    const auto is_one_of = [&](string_view types) {
      return type != 0 && types.find(type) != string_view::npos;
    };
    Number number;
    if (type == 'c' && value.is_integral()) {
      if (spec.precision || spec.sign != '-' || spec.grouping != 0) {
        context_.fail("invalid format specifier '{}' for a character", spec_text);
      }
      number.digits = character(context_, value);
    } else if (is_one_of("eEfFgG%") || (value.is(Type::kFloat) && (type == 0 || type == 'n'))) {
      const Int precision = std::min<Int>(spec.precision.value_or(6), 1 << 20);
      if (type == 0 && !spec.precision) {
        number.digits = print_float(std::abs(value.real()));
        number.sign = sign_of(std::signbit(value.real()) && !std::isnan(value.real()), spec.sign);
      } else {
        number = float_number(context_, value.real(), type == 0 || type == 'n' ? 'g' : type,
                              static_cast<int>(precision), spec.sign, spec.alternate);
        const bool plain = number.digits.find_first_of(".en") == std::string::npos;
        if (type == 0 && plain) number.digits += ".0";
      }
    } else if (value.is_integral() && (type == 0 || is_one_of("bdoxXn"))) {
      if (spec.precision) context_.fail("an integer takes no precision");
      number = integer_number(value.integer(), type, spec.sign, spec.alternate);
    } else {
      context_.fail("invalid format specifier '{}' for a {}", spec_text, type_name(value));
    }
    const bool fills_inside = spec.align == '=';
    if (fills_inside && spec.grouping != 0 && spec.fill == "0") {
      context_.fail("grouped digits filled with zeros are not supported");
    }
    group_digits(spec, &number);
    TextBuilder text(context_);
    if (fills_inside && spec.fill == "0") {
      append_number(number, spec.width, value.own(), &text);
    } else if (fills_inside) {
      text.append(number.sign + number.prefix, value.own());
      const Int size = static_cast<Int>(text.size() + number.digits.size());
      for (Int i = size; i < spec.width; ++i) text.append(spec.fill, true);
      text.append(number.digits, value.own());
    } else {
      append_number(number, 0, value.own(), &text);
    }
    const Align align = spec.align == '<'   ? Align::kLeft
                        : spec.align == '^' ? Align::kCenter
                                            : Align::kRight;
    append_padded(context_, text.take(), spec.width, align, spec.fill, out);
  }

  Context& context_;
  const Args& args_;
  bool markup_;
  size_t next_ = 0;
  std::optional<bool> manual_;
};

}  // namespace

std::string format_double(double value, char kind, int precision, bool alternate) {
  switch (kind) {
    case 'f':
      return alternate ? fmt::format("{:#.{}f}", value, precision)
                       : fmt::format("{:.{}f}", value, precision);
    case 'e':
      return alternate ? fmt::format("{:#.{}e}", value, precision)
                       : fmt::format("{:.{}e}", value, precision);
    default:
      return alternate ? fmt::format("{:#.{}g}", value, precision)
                       : fmt::format("{:.{}g}", value, precision);
  }
}

double round_to(double value, int digits) {
  if (!std::isfinite(value) || digits > 308 + 15) return value;
  if (digits < -308) return std::copysign(0.0, value);
  if (digits < 0) {
    const double unit = std::pow(10.0, -digits);
    return std::nearbyint(value / unit) * unit;
  }
  return std::strtod(fmt::format("{:.{}f}", value, digits).c_str(), nullptr);
}

Value format_percent(Context& context, const Value& format, const Value& args) {
  return PercentFormatter(context, format, args).run();
}

Value format_braces(Context& context, const Value& format, const Args& args) {
  const bool markup = format.string_object().markup;
  MarkedText text = BraceFormatter(context, args, markup).run(format.marked(), 2);
  return Value::string(std::move(text), markup);
}

}  // namespace flashmoe::text::jinja
