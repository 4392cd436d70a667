#include "text/jinja/string_methods.h"

#include <algorithm>
#include <functional>
#include <iterator>

#include "text/jinja/format.h"
#include "text/jinja/methods.h"
#include "text/jinja/operators.h"
#include "text/jinja/print.h"
#include "text/jinja/unicode.h"
#include "text/utf8.h"

namespace flashmoe::text::jinja {
namespace {

using std::string_view;

size_t char_size(const std::string& text, size_t pos) {
  return utf8_length(static_cast<unsigned char>(text[pos]));
}

// A piece of `string`, with its markup flag.
Value piece(Context& context, const Value& string, size_t begin, size_t end) {
  context.charge(64);
  return Value::string(substring(context, string.marked(), begin, end),
                       string.string_object().markup);
}

// Each character changed by `map`, which appends to its last argument; marks stay.
template <typename Map>
Value map_characters(Context& context, const Value& string, Map map) {
  const MarkedText& text = string.marked();
  TextBuilder out(context);
  for_each_run(text, 0, text.text.size(), [&](size_t begin, size_t end, bool own) {
    std::string mapped;
    for (size_t pos = begin; pos < end; pos += char_size(text.text, pos)) map(pos, &mapped);
    out.append(mapped, own);
  });
  return Value::string(out.take(), string.string_object().markup);
}

// True if the predicate holds for all characters, and there are any.
template <typename Predicate>
Value all_characters(const Value& self, Predicate predicate) {
  const std::string& text = self.text();
  for (size_t pos = 0; pos < text.size(); pos += char_size(text, pos)) {
    if (!predicate(utf8_decode(text, pos))) return Value::boolean(false);
  }
  return Value::boolean(!text.empty());
}

// Cased characters all satisfy the predicate, and there are any.
template <typename Predicate>
Value all_cased(const Value& self, Predicate predicate) {
  bool any = false;
  const std::string& text = self.text();
  for (size_t pos = 0; pos < text.size(); pos += char_size(text, pos)) {
    const char32_t c = utf8_decode(text, pos);
    if (!is_cased(c)) continue;
    if (!predicate(c)) return Value::boolean(false);
    any = true;
  }
  return Value::boolean(any);
}

// The bytes [begin, end) that the arguments start and stop leave of a string; nothing if start is
// past the end.
struct Window {
  size_t begin, end;
  Int first;  // code point at begin
};
std::optional<Window> window(Context& context, const Value& self, const Parameters& p) {
  const Int size = *length(context, self);
  const auto bound = [&](size_t i, Int fallback) {
    const Int value = p.not_none(i) ? p.integer(i, fallback) : fallback;
    return std::max<Int>(value < 0 ? value + size : value, 0);
  };
  const Int start = bound(1, 0), stop = std::min(bound(2, size), size);
  if (start > size || start > stop) return std::nullopt;
  return Window{byte_offset(self.text(), start), byte_offset(self.text(), stop), start};
}

Int code_points_between(const std::string& text, size_t begin, size_t end) {
  return std::count_if(text.begin() + static_cast<ptrdiff_t>(begin),
                       text.begin() + static_cast<ptrdiff_t>(end),
                       [](char c) { return (static_cast<unsigned char>(c) & 0xc0) != 0x80; });
}

Value find_in(Context& context, const Value& self, const Args& args, const char* name,
              bool from_right, bool must) {
  const Parameters p(context, name, args, {"/", "/", "/"}, 1);
  const Value* wanted = p.string(0);
  if (!wanted) context.fail("{} needs a string", name);
  context.charge(self.text().size() / 4);
  if (const auto in = window(context, self, p)) {
    const string_view part = string_view(self.text()).substr(in->begin, in->end - in->begin);
    const size_t found = from_right ? part.rfind(wanted->text()) : part.find(wanted->text());
    if (found != string_view::npos) {
      return Value::integer(in->first +
                            code_points_between(self.text(), in->begin, in->begin + found));
    }
  }
  if (must) context.fail("substring not found");
  return Value::integer(-1);
}

Value method_find(Context& c, const Value& self, const Args& args) {
  return find_in(c, self, args, "find", false, false);
}
Value method_rfind(Context& c, const Value& self, const Args& args) {
  return find_in(c, self, args, "rfind", true, false);
}
Value method_index(Context& c, const Value& self, const Args& args) {
  return find_in(c, self, args, "index", false, true);
}
Value method_rindex(Context& c, const Value& self, const Args& args) {
  return find_in(c, self, args, "rindex", true, true);
}

Value method_count(Context& context, const Value& self, const Args& args) {
  const Parameters p(context, "count", args, {"/", "/", "/"}, 1);
  const Value* wanted = p.string(0);
  if (!wanted) context.fail("count needs a string");
  const auto in = window(context, self, p);
  if (!in) return Value::integer(0);
  context.charge(self.text().size() / 4);
  if (wanted->text().empty()) {
    return Value::integer(code_points_between(self.text(), in->begin, in->end) + 1);
  }
  const string_view part = string_view(self.text()).substr(in->begin, in->end - in->begin);
  Int count = 0;
  for (size_t pos = part.find(wanted->text()); pos != string_view::npos;
       pos = part.find(wanted->text(), pos + wanted->text().size())) {
    ++count;
  }
  return Value::integer(count);
}

Value starts_or_ends(Context& context, const Value& self, const Args& args, bool at_end) {
  const char* name = at_end ? "endswith" : "startswith";
  const Parameters p(context, name, args, {"/", "/", "/"}, 1);
  const auto in = window(context, self, p);
  const auto matches = [&](const Value& affix) {
    if (!affix.is(Type::kString)) {
      if (affix.is(Type::kUndefined)) context.fail("{}", affix.undefined().message);
      context.fail("{} needs a string or a tuple of strings, not a {}", name, type_name(affix));
    }
    if (!in) return false;
    const string_view part = string_view(self.text()).substr(in->begin, in->end - in->begin);
    const std::string& wanted = affix.text();
    if (part.size() < wanted.size()) return false;
    return part.substr(at_end ? part.size() - wanted.size() : 0, wanted.size()) == wanted;
  };
  if (!p[0]->is(Type::kTuple)) return Value::boolean(matches(*p[0]));
  for (const Value& affix : p[0]->items()) {
    if (matches(affix)) return Value::boolean(true);
  }
  return Value::boolean(false);
}
Value method_startswith(Context& c, const Value& self, const Args& args) {
  return starts_or_ends(c, self, args, false);
}
Value method_endswith(Context& c, const Value& self, const Args& args) {
  return starts_or_ends(c, self, args, true);
}

template <Side side>
Value method_strip(Context& context, const Value& self, const Args& args) {
  const Parameters p(context, "strip", args, {"/"});
  return strip(context, self, p.string(0), side);
}

Value split_method(Context& context, const Value& self, const Args& args, bool from_right) {
  const Parameters p(context, "split", args, {"sep", "maxsplit"});
  const Int limit = p.integer(1, -1);
  const Value* separator = p.string(0);
  if (!separator) return make_list(context, split_space(context, self, limit, from_right));
  if (separator->text().empty()) context.fail("split needs a separator that is not empty");
  return make_list(context, split(context, self, separator->text(), limit, from_right));
}
Value method_split(Context& c, const Value& self, const Args& args) {
  return split_method(c, self, args, false);
}
Value method_rsplit(Context& c, const Value& self, const Args& args) {
  return split_method(c, self, args, true);
}
Value method_splitlines(Context& context, const Value& self, const Args& args) {
  const Parameters p(context, "splitlines", args, {"keepends"});
  return make_list(context, split_lines(context, self, p.flag(0, false)));
}

Value partition(Context& context, const Value& self, const Args& args, bool from_right) {
  const Parameters p(context, "partition", args, {"/"}, 1);
  const Value* separator = p.string(0);
  if (!separator || separator->text().empty()) {
    context.fail("partition needs a separator that is not empty");
  }
  const std::string& text = self.text();
  const size_t found = from_right ? text.rfind(separator->text()) : text.find(separator->text());
  if (found == std::string::npos) {
    const Value empty = piece(context, self, 0, 0);
    return make_tuple(context, from_right ? std::vector<Value>{empty, empty, self}
                                          : std::vector<Value>{self, empty, empty});
  }
  const size_t after = found + separator->text().size();
  return make_tuple(context, {piece(context, self, 0, found), piece(context, self, found, after),
                              piece(context, self, after, text.size())});
}
Value method_partition(Context& c, const Value& self, const Args& args) {
  return partition(c, self, args, false);
}
Value method_rpartition(Context& c, const Value& self, const Args& args) {
  return partition(c, self, args, true);
}

Value method_replace(Context& context, const Value& self, const Args& args) {
  const Parameters p(context, "replace", args, {"/", "/", "/"}, 2);
  if (!p.string(0) || !p.string(1)) context.fail("replace needs strings");
  const Value to = self.string_object().markup ? escape_html(context, *p[1]) : *p[1];
  return replace(context, self, *p[0], to, p.integer(2, -1));
}

Value method_join(Context& context, const Value& self, const Args& args) {
  const Parameters p(context, "join", args, {"/"}, 1);
  std::vector<Value> items = to_vector(context, *p[0]);
  for (Value& item : items) {
    if (self.string_object().markup) item = escape_html(context, item);
    if (!item.is(Type::kString)) {
      if (item.is(Type::kUndefined)) context.fail("{}", item.undefined().message);
      context.fail("join needs strings, not a {}", type_name(item));
    }
  }
  return join(context, self, items);
}

Value method_upper(Context& c, const Value& self, const Args& args) {
  const Parameters p(c, "upper", args, {});
  return upper(c, self);
}
Value method_lower(Context& c, const Value& self, const Args& args) {
  const Parameters p(c, "lower", args, {});
  return lower(c, self);
}
Value method_capitalize(Context& c, const Value& self, const Args& args) {
  const Parameters p(c, "capitalize", args, {});
  return capitalize(c, self);
}
Value method_casefold(Context& c, const Value& self, const Args&) {
  return map_characters(c, self, [&](size_t pos, std::string* out) {
    append_casefold(utf8_decode(self.text(), pos), out);
  });
}
Value method_swapcase(Context& c, const Value& self, const Args&) {
  return map_characters(c, self, [&](size_t pos, std::string* out) {
    const char32_t character = utf8_decode(self.text(), pos);
    if (is_upper(character)) {
      append_lower(self.text(), pos, out);
    } else if (is_lower(character)) {
      append_upper(character, out);
    } else {
      utf8_append(character, out);
    }
  });
}
Value method_title(Context& c, const Value& self, const Args&) {
  bool after_cased = false;
  return map_characters(c, self, [&](size_t pos, std::string* out) {
    const char32_t character = utf8_decode(self.text(), pos);
    if (after_cased) {
      append_lower(self.text(), pos, out);
    } else {
      append_title(character, out);
    }
    after_cased = is_cased(character);
  });
}

Value pad(Context& context, const Value& self, Int left, Int right, const Value& fill) {
  TextBuilder out(context);
  for (Int i = 0; i < left; ++i) out.append(fill.marked());
  out.append(self.marked());
  for (Int i = 0; i < right; ++i) out.append(fill.marked());
  return Value::string(out.take(), self.string_object().markup);
}

Value just(Context& context, const Value& self, const Args& args, const char* name, Side side) {
  const Parameters p(context, name, args, {"/", "/"}, 1);
  const Value* given = p.string(1);
  const Value fill = given ? *given : Value::literal(" ");
  if (*length(context, fill) != 1) context.fail("{} fills with exactly one character", name);
  const Int width = p.integer(0, 0);
  if (side == Side::kBoth) return center(context, self, width, fill);
  const Int missing = std::max<Int>(width - *length(context, self), 0);
  return side == Side::kLeft ? pad(context, self, 0, missing, fill)
                             : pad(context, self, missing, 0, fill);
}
Value method_ljust(Context& c, const Value& self, const Args& args) {
  return just(c, self, args, "ljust", Side::kLeft);
}
Value method_rjust(Context& c, const Value& self, const Args& args) {
  return just(c, self, args, "rjust", Side::kRight);
}
Value method_center(Context& c, const Value& self, const Args& args) {
  return just(c, self, args, "center", Side::kBoth);
}
Value method_zfill(Context& context, const Value& self, const Args& args) {
  const Parameters p(context, "zfill", args, {"/"}, 1);
  const Int missing = p.integer(0, 0) - *length(context, self);
  const std::string& text = self.text();
  const size_t sign = !text.empty() && (text[0] == '-' || text[0] == '+') ? 1 : 0;
  TextBuilder out(context);
  out.append(self.marked(), 0, sign);
  for (Int i = 0; i < missing; ++i) out.append("0", true);
  out.append(self.marked(), sign, text.size());
  return Value::string(out.take(), self.string_object().markup);
}

Value method_expandtabs(Context& context, const Value& self, const Args& args) {
  const Parameters p(context, "expandtabs", args, {"tabsize"});
  const Int tab = p.integer(0, 8);
  const MarkedText& text = self.marked();
  TextBuilder out(context);
  Int column = 0;
  for (size_t pos = 0; pos < text.text.size();) {
    const size_t end = pos + char_size(text.text, pos);
    if (text.text[pos] == '\t') {
      const Int spaces = tab > 0 ? tab - column % tab : 0;
      bool own = false;
      for_each_run(text, pos, end, [&](size_t, size_t, bool run_own) { own = run_own; });
      for (Int i = 0; i < spaces; ++i) out.append(" ", own);
      column += spaces;
    } else {
      out.append(text, pos, end);
      column = text.text[pos] == '\n' || text.text[pos] == '\r' ? 0 : column + 1;
    }
    pos = end;
  }
  return Value::string(out.take(), self.string_object().markup);
}

Value remove_affix(Context& context, const Value& self, const Args& args, bool at_end) {
  const Parameters p(context, at_end ? "removesuffix" : "removeprefix", args, {"/"}, 1);
  const Value* affix = p.string(0);
  if (!affix) context.fail("the affix to remove must be a string");
  const std::string &text = self.text(), &part = affix->text();
  if (text.size() < part.size()) return self;
  const size_t at = at_end ? text.size() - part.size() : 0;
  if (text.compare(at, part.size(), part) != 0) return self;
  return at_end ? piece(context, self, 0, at) : piece(context, self, part.size(), text.size());
}
Value method_removeprefix(Context& c, const Value& self, const Args& args) {
  return remove_affix(c, self, args, false);
}
Value method_removesuffix(Context& c, const Value& self, const Args& args) {
  return remove_affix(c, self, args, true);
}

Value method_format(Context& context, const Value& self, const Args& args) {
  return format_braces(context, self, args);
}
Value method_format_map(Context& context, const Value& self, const Args& args) {
  const Parameters p(context, "format_map", args, {"/"}, 1);
  if (!p[0]->is(Type::kDict)) context.fail("format_map needs a dict");
  Args named;
  for (const auto& entry : p[0]->dict().entries()) {
    if (entry.key.is(Type::kString)) named.named.emplace_back(entry.key.text(), entry.value);
  }
  return format_braces(context, self, named);
}

template <bool (*predicate)(char32_t)>
Value method_is(Context&, const Value& self, const Args&) {
  return all_characters(self, predicate);
}
Value method_isupper(Context&, const Value& self, const Args&) { return all_cased(self, is_upper); }
Value method_islower(Context&, const Value& self, const Args&) { return all_cased(self, is_lower); }
Value method_isascii(Context&, const Value& self, const Args&) {
  return Value::boolean(is_ascii(self.text()));
}
Value method_isprintable(Context&, const Value& self, const Args&) {
  return Value::boolean(self.text().empty() || all_characters(self, is_printable).boolean());
}
Value method_istitle(Context&, const Value& self, const Args&) {
  bool after_cased = false, any = false;
  const std::string& text = self.text();
  for (size_t pos = 0; pos < text.size(); pos += char_size(text, pos)) {
    const char32_t c = utf8_decode(text, pos);
    const bool begins = is_upper(c) || is_title(c);
    if ((begins && after_cased) || (is_lower(c) && !after_cased)) return Value::boolean(false);
    after_cased = is_cased(c);
    any = any || after_cased;
  }
  return Value::boolean(any);
}
Value method_isidentifier(Context&, const Value& self, const Args&) {
  const std::string& text = self.text();
  for (size_t pos = 0; pos < text.size(); pos += char_size(text, pos)) {
    const char32_t c = utf8_decode(text, pos);
    if (c != '_' && !is_alpha(c) && (pos == 0 || !is_decimal(c))) return Value::boolean(false);
  }
  return Value::boolean(!text.empty());
}

constexpr Method kMethods[] = {
    {"capitalize", method_capitalize},
    {"casefold", method_casefold},
    {"center", method_center},
    {"count", method_count},
    {"encode", nullptr},
    {"endswith", method_endswith},
    {"expandtabs", method_expandtabs},
    {"find", method_find},
    {"format", method_format},
    {"format_map", method_format_map},
    {"index", method_index},
    {"isalnum", method_is<is_alnum>},
    {"isalpha", method_is<is_alpha>},
    {"isascii", method_isascii},
    {"isdecimal", method_is<is_decimal>},
    {"isdigit", method_is<is_digit>},
    {"isidentifier", method_isidentifier},
    {"islower", method_islower},
    {"isnumeric", method_is<is_numeric>},
    {"isprintable", method_isprintable},
    {"isspace", method_is<is_space>},
    {"istitle", method_istitle},
    {"isupper", method_isupper},
    {"join", method_join},
    {"ljust", method_ljust},
    {"lower", method_lower},
    {"lstrip", method_strip<Side::kLeft>},
    {"maketrans", nullptr},
    {"partition", method_partition},
    {"removeprefix", method_removeprefix},
    {"removesuffix", method_removesuffix},
    {"replace", method_replace},
    {"rfind", method_rfind},
    {"rindex", method_rindex},
    {"rjust", method_rjust},
    {"rpartition", method_rpartition},
    {"rsplit", method_rsplit},
    {"rstrip", method_strip<Side::kRight>},
    {"split", method_split},
    {"splitlines", method_splitlines},
    {"startswith", method_startswith},
    {"strip", method_strip<Side::kBoth>},
    {"swapcase", method_swapcase},
    {"title", method_title},
    {"translate", nullptr},
    {"upper", method_upper},
    {"zfill", method_zfill},
};

}  // namespace

const Method* find_string_method(string_view name) {
  const auto* it = std::lower_bound(std::begin(kMethods), std::end(kMethods), name,
                                    [](const Method& m, string_view n) { return m.name < n; });
  return it != std::end(kMethods) && it->name == name ? it : nullptr;
}

Value strip(Context& context, const Value& string, const Value* characters, Side side) {
  const std::string& text = string.text();
  const auto strips = [&](size_t pos) {
    if (!characters) return is_space(utf8_decode(text, pos));
    const string_view c = string_view(text).substr(pos, char_size(text, pos));
    return characters->text().find(c) != std::string::npos;
  };
  size_t begin = 0, end = text.size();
  if (side != Side::kRight) {
    while (begin < end && strips(begin)) begin += char_size(text, begin);
  }
  if (side != Side::kLeft) {
    while (end > begin) {
      const size_t previous = utf8_previous(text, end);
      if (!strips(previous)) break;
      end = previous;
    }
  }
  if (begin == 0 && end == text.size()) return string;
  return piece(context, string, begin, end);
}

Value replace(Context& context, const Value& string, const Value& from, const Value& to,
              Int count) {
  const MarkedText& text = string.marked();
  const std::string& wanted = from.text();
  context.charge(text.text.size() / 4);
  TextBuilder out(context);
  size_t pos = 0;
  if (wanted.empty()) {  // matches before each character and at the end
    for (; count != 0; --count) {
      out.append(to.marked());
      if (pos >= text.text.size()) break;
      const size_t end = pos + char_size(text.text, pos);
      out.append(text, pos, end);
      pos = end;
    }
  } else {
    for (; count != 0; --count) {
      const size_t found = text.text.find(wanted, pos);
      if (found == std::string::npos) break;
      out.append(text, pos, found);
      out.append(to.marked());
      pos = found + wanted.size();
    }
  }
  out.append(text, pos, text.text.size());
  return Value::string(out.take(), string.string_object().markup);
}

Value join(Context& context, const Value& separator, const std::vector<Value>& strings) {
  TextBuilder out(context);
  for (size_t i = 0; i < strings.size(); ++i) {
    if (i > 0) out.append(separator.marked());
    out.append(strings[i].marked());
  }
  return Value::string(out.take(), separator.string_object().markup);
}

Value upper(Context& context, const Value& string) {
  return map_characters(context, string, [&](size_t pos, std::string* out) {
    append_upper(utf8_decode(string.text(), pos), out);
  });
}

Value lower(Context& context, const Value& string) {
  return map_characters(context, string, [&](size_t pos, std::string* out) {
    append_lower(string.text(), pos, out);
  });
}

Value capitalize(Context& context, const Value& string) {
  return map_characters(context, string, [&](size_t pos, std::string* out) {
    if (pos == 0) {
      append_title(utf8_decode(string.text(), pos), out);
    } else {
      append_lower(string.text(), pos, out);
    }
  });
}

Value center(Context& context, const Value& string, Int width, const Value& fill) {
  const Int missing = std::max<Int>(width - *length(context, string), 0);
  const Int left = missing / 2 + (missing & width & 1);
  return pad(context, string, left, missing - left, fill);
}

std::vector<Value> split_lines(Context& context, const Value& string, bool keep_ends) {
  const std::string& text = string.text();
  std::vector<Value> lines;
  size_t begin = 0;
  for (size_t pos = 0; pos < text.size();) {
    const size_t size = char_size(text, pos);
    if (!is_line_break(utf8_decode(text, pos))) {
      pos += size;
      continue;
    }
    size_t next = pos + size;
    if (text[pos] == '\r' && next < text.size() && text[next] == '\n') ++next;
    lines.push_back(piece(context, string, begin, keep_ends ? next : pos));
    begin = pos = next;
  }
  if (begin < text.size()) lines.push_back(piece(context, string, begin, text.size()));
  return lines;
}

std::vector<Value> split_space(Context& context, const Value& string, Int limit, bool from_right) {
  const std::string& text = string.text();
  std::vector<Value> out;
  if (!from_right) {
    size_t pos = 0;
    const auto skip = [&](bool space) {
      while (pos < text.size() && is_space(utf8_decode(text, pos)) == space) {
        pos += char_size(text, pos);
      }
    };
    while (true) {
      skip(true);
      if (pos >= text.size()) return out;
      const size_t begin = pos;
      if (limit >= 0 && static_cast<Int>(out.size()) >= limit) {
        out.push_back(piece(context, string, begin, text.size()));
        return out;
      }
      skip(false);
      out.push_back(piece(context, string, begin, pos));
    }
  }
  size_t pos = text.size();
  const auto skip = [&](bool space) {
    while (pos > 0) {
      const size_t previous = utf8_previous(text, pos);
      if (is_space(utf8_decode(text, previous)) != space) break;
      pos = previous;
    }
  };
  while (true) {
    skip(true);
    if (pos == 0) break;
    const size_t end = pos;
    if (limit >= 0 && static_cast<Int>(out.size()) >= limit) {
      out.push_back(piece(context, string, 0, end));
      break;
    }
    skip(false);
    out.push_back(piece(context, string, pos, end));
  }
  std::reverse(out.begin(), out.end());
  return out;
}

std::vector<Value> split(Context& context, const Value& string, string_view separator, Int limit,
                         bool from_right) {
  const std::string& text = string.text();
  context.charge(text.size() / 4);
  std::vector<Value> out;
  if (!from_right) {
    size_t pos = 0;
    while (limit < 0 || static_cast<Int>(out.size()) < limit) {
      const size_t found = text.find(separator, pos);
      if (found == std::string::npos) break;
      out.push_back(piece(context, string, pos, found));
      pos = found + separator.size();
    }
    out.push_back(piece(context, string, pos, text.size()));
    return out;
  }
  size_t end = text.size();
  while (limit < 0 || static_cast<Int>(out.size()) < limit) {
    if (end < separator.size()) break;
    const size_t found = text.rfind(separator, end - separator.size());
    if (found == std::string::npos) break;
    out.push_back(piece(context, string, found + separator.size(), end));
    end = found;
  }
  out.push_back(piece(context, string, 0, end));
  std::reverse(out.begin(), out.end());
  return out;
}

Value title_words(Context& context, const Value& string) {
  const std::string& text = string.text();
  const auto separates = [&](size_t pos) {
    const char32_t c = utf8_decode(text, pos);
    return c == '-' || c == '(' || c == '{' || c == '[' || c == '<' || is_space(c);
  };
  size_t rest_begin = 0, rest_end = 0;  // of the current word, behind its first character
  return map_characters(context, string, [&](size_t pos, std::string* out) {
    if (separates(pos)) {
      out->append(text, pos, char_size(text, pos));
    } else if (pos < rest_end) {
      // The rest is lowered on its own: what a sigma becomes depends on its neighbours.
      append_lower(string_view(text).substr(rest_begin, rest_end - rest_begin), pos - rest_begin,
                   out);
    } else {
      append_upper(utf8_decode(text, pos), out);
      rest_begin = rest_end = pos + char_size(text, pos);
      while (rest_end < text.size() && !separates(rest_end)) rest_end += char_size(text, rest_end);
    }
  });
}

}  // namespace flashmoe::text::jinja
