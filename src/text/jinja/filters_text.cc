// Filters that make text or numbers.
#include <algorithm>
#include <cmath>
#include <iterator>

#include "text/jinja/filters.h"
#include "text/jinja/format.h"
#include "text/jinja/methods.h"
#include "text/jinja/operators.h"
#include "text/jinja/print.h"
#include "text/jinja/string_methods.h"
#include "text/jinja/unicode.h"
#include "text/utf8.h"

namespace flashmoe::text::jinja {
namespace {

// What is a string stays as it is, with its markup flag; anything else is printed.
Value soft_string(Context& c, const Value& v) { return v.is(Type::kString) ? v : to_str(c, v); }

// For filters that fail on what is not defined instead of printing nothing.
void require_defined(Context& c, const Value& v) {
  if (v.is(Type::kUndefined)) c.fail("{}", v.undefined().message);
}

Value filter_string(Context& c, const Value& v, const Args& args) {
  const Parameters p(c, "string", args, {});
  return soft_string(c, v);
}
Value filter_upper(Context& c, const Value& v, const Args& args) {
  const Parameters p(c, "upper", args, {});
  return upper(c, soft_string(c, v));
}
Value filter_lower(Context& c, const Value& v, const Args& args) {
  const Parameters p(c, "lower", args, {});
  return lower(c, soft_string(c, v));
}
Value filter_capitalize(Context& c, const Value& v, const Args& args) {
  const Parameters p(c, "capitalize", args, {});
  return capitalize(c, soft_string(c, v));
}
Value filter_title(Context& c, const Value& v, const Args& args) {
  const Parameters p(c, "title", args, {});
  return to_str(c, title_words(c, soft_string(c, v)));
}
Value filter_trim(Context& c, const Value& v, const Args& args) {
  const Parameters p(c, "trim", args, {"chars"});
  return strip(c, soft_string(c, v), p.string(0), Side::kBoth);
}
Value filter_center(Context& c, const Value& v, const Args& args) {
  const Parameters p(c, "center", args, {"width"});
  return center(c, soft_string(c, v), p.integer(0, 80), Value::literal(" "));
}

Value filter_replace(Context& c, const Value& v, const Args& args) {
  const Parameters p(c, "replace", args, {"old", "new", "count"}, 2);
  const Int count = p.not_none(2) ? p.integer(2, -1) : -1;
  return replace(c, to_str(c, v), to_str(c, *p[0]), to_str(c, *p[1]), count);
}

Value filter_escape(Context& c, const Value& v, const Args& args) {
  const Parameters p(c, "escape", args, {});
  return escape_html(c, v);
}
Value filter_forceescape(Context& c, const Value& v, const Args& args) {
  const Parameters p(c, "forceescape", args, {});
  return escape_html(c, to_str(c, v));
}
Value filter_safe(Context& c, const Value& v, const Args& args) {
  const Parameters p(c, "safe", args, {});
  return Value::string(soft_string(c, v).marked(), true);
}

Value filter_indent(Context& c, const Value& v, const Args& args) {
  const Parameters p(c, "indent", args, {"width", "first", "blank"});
  if (!v.is(Type::kString)) {
    require_defined(c, v);
    c.fail("indent needs a string, not a {}", type_name(v));
  }
  const bool markup = v.string_object().markup;
  Value indention = Value::literal("    ");
  if (p[0] && p[0]->is(Type::kString)) {
    indention = *p[0];
  } else if (p[0]) {
    indention = binary(c, Expr::kMultiply, Value::literal(" "), Value::integer(p.integer(0, 4)));
  }
  const bool first = p.flag(1, false), blank = p.flag(2, false);
  const Value newline = Value::literal("\n");
  const std::vector<Value> lines = split_lines(c, binary(c, Expr::kAdd, v, newline), false);
  TextBuilder out(c);
  for (size_t i = 0; i < lines.size(); ++i) {
    if (i > 0) out.append(newline.marked());
    const bool indents = i == 0 ? first : blank || !lines[i].text().empty();
    if (indents) out.append(indention.marked());
    out.append(lines[i].marked());
  }
  return Value::string(out.take(), markup);
}

Value filter_truncate(Context& c, const Value& v, const Args& args) {
  const Parameters p(c, "truncate", args, {"length", "killwords", "end", "leeway"});
  const Value end = p.string(2) ? *p.string(2) : Value::literal("...");
  const Int size = p.integer(0, 255), end_size = *length(c, end);
  const Int leeway = p.not_none(3) ? p.integer(3, 5) : 5;
  if (size < end_size || leeway < 0)
    c.fail("truncate needs a length of at least {}", print_integer(end_size));
  const auto text_size = length(c, v);
  if (!text_size) c.fail("truncate needs a string, not a {}", type_name(v));
  if (*text_size <= size + leeway) return v;
  Value head = slice(c, v, Value::none(true), Value::integer(size - end_size), Value::none(true));
  if (!p.flag(1, false)) head = split(c, head, " ", 1, true)[0];
  return binary(c, Expr::kAdd, head, end);
}

Value filter_wordcount(Context& c, const Value& v, const Args& args) {
  const Parameters p(c, "wordcount", args, {});
  const std::string text = soft_string(c, v).text();
  Int words = 0;
  bool inside = false;
  for (size_t pos = 0; pos < text.size();) {
    const char32_t ch = utf8_decode(text, pos);
    const bool is_word = ch == '_' || is_alnum(ch);
    if (is_word && !inside) ++words;
    inside = is_word;
    pos += utf8_length(static_cast<unsigned char>(text[pos]));
  }
  return Value::integer(words);
}

Value quote_url(Context& c, const Value& v, bool for_query) {
  const Value string = to_str(c, v);
  const MarkedText& text = string.marked();
  TextBuilder out(c);
  for_each_run(text, 0, text.text.size(), [&](size_t begin, size_t end, bool own) {
    for (size_t pos = begin; pos < end; ++pos) {
      const auto ch = static_cast<unsigned char>(text.text[pos]);
      const bool plain = (ch < 0x80 && is_alnum(ch)) || ch == '_' || ch == '.' || ch == '-' ||
                         ch == '~' || (ch == '/' && !for_query);
      if (plain) {
        out.append(std::string_view(text.text).substr(pos, 1), own);
      } else {
        out.append(ch == ' ' && for_query ? "+" : fmt::format("%{:02X}", ch), own);
      }
    }
  });
  return Value::string(out.take());
}

Value filter_urlencode(Context& c, const Value& v, const Args& args) {
  const Parameters p(c, "urlencode", args, {});
  if (v.is(Type::kString) || !is_iterable(v)) return quote_url(c, v, false);
  std::vector<Value> pairs;
  const Value items = v.is(Type::kDict) ? call(c, *find_method(c, v, "items"), {}) : v;
  for (const Value& item : to_vector(c, items)) {
    const std::vector<Value> pair = to_vector(c, item);
    if (pair.size() != 2) c.fail("urlencode needs pairs");
    pairs.push_back(
        join(c, Value::literal("="), {quote_url(c, pair[0], true), quote_url(c, pair[1], true)}));
  }
  return join(c, Value::literal("&"), pairs);
}

Value filter_format(Context& c, const Value& v, const Args& args) {
  if (!args.positional.empty() && !args.named.empty()) {
    c.fail("format takes arguments by position or by name, not both");
  }
  const Value format = soft_string(c, v);
  if (args.named.empty()) {
    return format_percent(c, format, make_tuple(c, args.positional));
  }
  auto dict = std::make_shared<DictObject>();
  for (const auto& [name, value] : args.named) dict->set(c, args.name_value(name), value);
  return format_percent(c, format, make_dict(c, std::move(dict)));
}

Value filter_tojson(Context& c, const Value& v, const Args& args) {
  const Parameters p(c, "tojson", args, {"ensure_ascii", "indent", "separators", "sort_keys"});
  JsonOptions options;
  options.ensure_ascii = p.flag(0, false);
  options.sort_keys = p.flag(3, false);
  if (const Value* indent = p.not_none(1)) {
    options.indent = indent->is(Type::kString) ? *indent
                                               : binary(c, Expr::kMultiply, Value::literal(" "),
                                                        Value::integer(to_integer(c, *indent)));
  }
  options.item_separator = Value::literal(options.indent ? "," : ", ");
  options.key_separator = Value::literal(": ");
  if (const Value* separators = p.not_none(2)) {
    const std::vector<Value> pair = to_vector(c, *separators);
    if (pair.size() != 2 || !pair[0].is(Type::kString) || !pair[1].is(Type::kString)) {
      c.fail("the separators of tojson are two strings");
    }
    options.item_separator = pair[0];
    options.key_separator = pair[1];
  }
  return to_json(c, v, options);
}

Value filter_int(Context& c, const Value& v, const Args& args) {
  const Parameters p(c, "int", args, {"default", "base"});
  const Value fallback = p[0] ? *p[0] : Value::integer(0);
  const auto from_float = [&](double f, bool own) {
    if (!(std::abs(f) < 1e37)) return fallback;
    return Value::integer(static_cast<Int>(f), own);
  };
  if (v.is_integral()) return Value::integer(v.integer(), v.own());
  if (v.is(Type::kFloat)) return from_float(v.real(), v.own());
  require_defined(c, v);
  if (!v.is(Type::kString)) return fallback;
  const bool own = all_own(v.marked());
  c.charge(v.text().size());
  const Int base = p.integer(1, 10);
  if (base == 0 || (base >= 2 && base <= 36)) {
    if (const auto value = parse_integer(v.text(), static_cast<int>(base))) {
      return Value::integer(*value, own);
    }
  }
  const auto value = parse_float(v.text());
  return value ? from_float(*value, own) : fallback;
}

Value filter_float(Context& c, const Value& v, const Args& args) {
  const Parameters p(c, "float", args, {"default"});
  const Value fallback = p[0] ? *p[0] : Value::real(0);
  if (v.is_number()) return Value::real(v.real(), v.own());
  require_defined(c, v);
  if (!v.is(Type::kString)) return fallback;
  c.charge(v.text().size());
  const auto value = parse_float(v.text());
  return value ? Value::real(*value, all_own(v.marked())) : fallback;
}

Value filter_abs(Context& c, const Value& v, const Args& args) {
  const Parameters p(c, "abs", args, {});
  if (v.is(Type::kFloat)) return Value::real(std::abs(v.real()), v.own());
  return v.is_integral() && v.integer() >= 0 ? plus(c, v) : negate(c, v);
}

Value round_integer(Context& c, const Value& v, Int digits) {
  if (digits >= 0) return plus(c, v);
  if (digits < -37) return Value::integer(0, v.own());
  Int unit = 1;
  for (Int i = digits; i < 0; ++i) unit *= 10;
  const Int n = v.integer();
  Int rest = n % unit;
  if (rest < 0) rest += unit;
  const Int down = n - rest;
  const bool up = rest > unit - rest || (rest == unit - rest && (down / unit) % 2 != 0);
  return Value::integer(up ? down + unit : down, v.own());
}

Value filter_round(Context& c, const Value& v, const Args& args) {
  const Parameters p(c, "round", args, {"precision", "method"});
  const std::string method = p.string(1) ? p.string(1)->text() : "common";
  if (method != "common" && method != "ceil" && method != "floor") {
    c.fail("the method of round is common, ceil or floor");
  }
  if (!v.is_number()) {
    require_defined(c, v);
    c.fail("a {} cannot be rounded", type_name(v));
  }
  if (p[0] && !p.not_none(0) && method == "common") {  // Python then makes an integer
    const double whole = round_to(v.real(), 0);
    if (v.is_integral()) return plus(c, v);
    if (!(std::abs(whole) < 1e37)) c.fail("the number is too large");
    return Value::integer(static_cast<Int>(whole), v.own());
  }
  const Int digits = std::clamp<Int>(p.integer(0, 0), -400, 400);
  if (method == "common") {
    if (v.is_integral()) return round_integer(c, v, digits);
    return Value::real(round_to(v.real(), static_cast<int>(digits)), v.own());
  }
  const double unit = std::pow(10.0, static_cast<double>(digits));
  const double scaled = v.real() * unit;
  if (!std::isfinite(scaled)) c.fail("an infinite number cannot be rounded");
  return Value::real((method == "ceil" ? std::ceil(scaled) : std::floor(scaled)) / unit, v.own());
}

Value filter_filesizeformat(Context& c, const Value& v, const Args& args) {
  const Parameters p(c, "filesizeformat", args, {"binary"});
  const bool binary_units = p.flag(0, false);
  double bytes = 0;
  bool own = v.own();
  if (v.is_number()) {
    bytes = v.real();
  } else {
    const auto parsed = v.is(Type::kString) ? parse_float(v.text()) : std::nullopt;
    if (!parsed) c.fail("filesizeformat needs a number, not a {}", type_name(v));
    bytes = *parsed;
    own = all_own(v.marked());
  }
  const double base = binary_units ? 1024 : 1000;
  std::string text;
  if (bytes == 1) {
    text = "1 Byte";
  } else if (bytes < base) {
    if (!std::isfinite(bytes)) c.fail("filesizeformat needs a finite number");
    text = fmt::format("{} Bytes", print_integer(static_cast<Int>(std::max(bytes, -1e37))));
  } else {
    static constexpr std::string_view kPrefixes = "kMGTPEZY";
    double unit = base;
    size_t i = 0;
    do unit *= base;
    while (bytes >= unit && ++i < kPrefixes.size());
    const size_t last = std::min(i, kPrefixes.size() - 1);
    if (i > last) unit /= base;
    const char prefix = binary_units && last == 0 ? 'K' : kPrefixes[last];
    text = format_double(base * bytes / unit, 'f', 1, false) + ' ' + prefix +
           (binary_units ? "iB" : "B");
  }
  TextBuilder out(c);
  out.append(text, own);
  return Value::string(out.take());
}

Value filter_striptags(Context& c, const Value& v, const Args& args) {
  const Parameters p(c, "striptags", args, {});
  const Value string = to_str(c, v);
  const std::string& text = string.text();
  TextBuilder out(c);
  size_t pos = 0;
  for (size_t start = text.find('<'); start != std::string::npos; start = text.find('<', pos)) {
    const bool comment = text.compare(start, 4, "<!--") == 0;
    const size_t end = comment ? text.find("-->", start + 4) : text.find('>', start);
    if (end == std::string::npos) break;
    out.append(string.marked(), pos, start);
    pos = end + (comment ? 3 : 1);
  }
  out.append(string.marked(), pos, text.size());
  const Value stripped =
      join(c, Value::literal(" "), split_space(c, Value::string(out.take()), -1, false));
  static constexpr std::pair<const char*, const char*> kEntities[] = {
      {"&lt;", "<"},  {"&gt;", ">"},   {"&quot;", "\""},     {"&#34;", "\""},
      {"&#39;", "'"}, {"&apos;", "'"}, {"&nbsp;", "\u00a0"}, {"&amp;", "&"}};
  Value result = stripped;
  for (const auto& [entity, character] : kEntities) {
    if (result.text().find(entity) == std::string::npos) continue;
    // An entity that a message wrote becomes the message's character.
    MarkedText replacement;
    replacement.text = character;
    result = replace(c, result, Value::literal(entity), Value::string(replacement), -1);
  }
  return result;
}

Value filter_pprint(Context& c, const Value& v, const Args& args) {
  const Parameters p(c, "pprint", args, {});
  TextBuilder out(c);
  append_repr(c, v, &out);
  if (out.size() > 80) c.fail("pprint of more than a line is not supported");
  return Value::string(out.take());
}

constexpr NamedFilter kFilters[] = {
    {"abs", filter_abs},
    {"capitalize", filter_capitalize},
    {"center", filter_center},
    {"e", filter_escape},
    {"escape", filter_escape},
    {"filesizeformat", filter_filesizeformat},
    {"float", filter_float},
    {"forceescape", filter_forceescape},
    {"format", filter_format},
    {"indent", filter_indent},
    {"int", filter_int},
    {"lower", filter_lower},
    {"pprint", filter_pprint},
    {"replace", filter_replace},
    {"round", filter_round},
    {"safe", filter_safe},
    {"string", filter_string},
    {"striptags", filter_striptags},
    {"title", filter_title},
    {"tojson", filter_tojson},
    {"trim", filter_trim},
    {"truncate", filter_truncate},
    {"upper", filter_upper},
    {"urlencode", filter_urlencode},
    {"wordcount", filter_wordcount},
};

}  // namespace

Filter find_text_filter(std::string_view name) {
  const auto* it =
      std::lower_bound(std::begin(kFilters), std::end(kFilters), name,
                       [](const NamedFilter& f, std::string_view n) { return f.name < n; });
  return it != std::end(kFilters) && it->name == name ? it->filter : nullptr;
}

Filter find_filter(std::string_view name) {
  const Filter found = find_text_filter(name);
  return found ? found : find_sequence_filter(name);
}

}  // namespace flashmoe::text::jinja
