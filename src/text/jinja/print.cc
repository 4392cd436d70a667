#include "text/jinja/print.h"

#include <algorithm>
#include <charconv>
#include <cmath>

#include "text/jinja/unicode.h"
#include "text/utf8.h"

namespace flashmoe::text::jinja {
namespace {

void append_string_repr(Context& context, const Value& value, TextBuilder* out) {
  const MarkedText& text = value.marked();
  const bool has_single = text.text.find('\'') != std::string::npos;
  const bool has_double = text.text.find('"') != std::string::npos;
  const char quote = has_single && !has_double ? '"' : '\'';
  // The quotes are as trustworthy as what they hold.
  const bool own = all_own(text);
  if (value.string_object().markup) out->append("Markup(", own);
  out->append(std::string_view(&quote, 1), own);
  for_each_run(text, 0, text.text.size(), [&](size_t begin, size_t end, bool run_own) {
    size_t plain = begin;
    for (size_t pos = begin; pos < end;) {
      const size_t size = utf8_length(static_cast<unsigned char>(text.text[pos]));
      const char32_t c = utf8_decode(text.text, pos);
      std::string escaped;
      if (c == static_cast<char32_t>(quote) || c == '\\') {
        escaped = {'\\', static_cast<char>(c)};
      } else if (c == '\n') {
        escaped = "\\n";
      } else if (c == '\r') {
        escaped = "\\r";
      } else if (c == '\t') {
        escaped = "\\t";
      } else if (!is_printable(c)) {
        const auto code = static_cast<uint32_t>(c);
        escaped = code < 0x100     ? fmt::format("\\x{:02x}", code)
                  : code < 0x10000 ? fmt::format("\\u{:04x}", code)
                                   : fmt::format("\\U{:08x}", code);
      }
      if (!escaped.empty()) {
        out->append(std::string_view(text.text).substr(plain, pos - plain), run_own);
        out->append(escaped, run_own);
        plain = pos + size;
      }
      pos += size;
    }
    out->append(std::string_view(text.text).substr(plain, end - plain), run_own);
  });
  out->append(std::string_view(&quote, 1), own);
  if (value.string_object().markup) out->append(")", own);
  context.charge(1);
}

void append_items(Context& context, const std::vector<Value>& items, bool own, TextBuilder* out) {
  for (size_t i = 0; i < items.size(); ++i) {
    if (i > 0) out->append(", ", own);
    append_repr(context, items[i], out);
  }
}

void append_dict(Context& context, const DictObject& dict, bool own, TextBuilder* out) {
  out->append("{", own);
  bool first = true;
  for (const auto& entry : dict.entries()) {
    if (!first) out->append(", ", own);
    first = false;
    append_repr(context, entry.key, out);
    out->append(": ", own);
    append_repr(context, entry.value, out);
  }
  out->append("}", own);
}

void append_view(Context& context, const Value& value, TextBuilder* out) {
  out->append(type_name(value), true);
  out->append("([", true);
  const Iteration next = iterate(context, value);
  bool first = true;
  for (Value item; next(context, &item);) {
    if (!first) out->append(", ", true);
    first = false;
    append_repr(context, item, out);
  }
  out->append("])", true);
}

class JsonWriter {
 public:
  JsonWriter(Context& context, const JsonOptions& options, TextBuilder* out)
      : context_(context), options_(options), out_(out) {}

  void write(const Value& value, size_t level) {
    context_.charge(1);
    switch (value.type()) {
      case Type::kNone:
        out_->append("null", value.own());
        break;
      case Type::kBool:
        out_->append(value.boolean() ? "true" : "false", value.own());
        break;
      case Type::kInt:
        out_->append(print_integer(value.integer()), value.own());
        break;
      case Type::kFloat:
        out_->append(number(value.real()), value.own());
        break;
      case Type::kString:
        write_string(value.marked());
        break;
      case Type::kList:
      case Type::kTuple:
        write_list(value, level);
        break;
      case Type::kDict:
        write_dict(value, level);
        break;
      default:
        context_.fail("a {} cannot be written as JSON", type_name(value));
    }
  }

 private:
  static std::string number(double f) {
    if (std::isnan(f)) return "NaN";
    if (std::isinf(f)) return f > 0 ? "Infinity" : "-Infinity";
    return print_float(f);
  }

  void new_line(size_t level, bool own) {
    if (!options_.indent) return;
    out_->append("\n", own);
    for (size_t i = 0; i < level; ++i) {
      if (own) {
        out_->append(options_.indent->marked());
      } else {
        out_->append(options_.indent->text(), false);
      }
    }
  }

  void separator(const Value& text, bool own) {
    if (own) {
      out_->append(text.marked());
    } else {
      out_->append(text.text(), false);
    }
  }

  void write_list(const Value& value, size_t level) {
    const bool own = value.own();
    out_->append("[", own);
    bool first = true;
    for (const Value& item : value.items()) {
      if (!first) separator(options_.item_separator, own);
      first = false;
      new_line(level + 1, own);
      write(item, level + 1);
    }
    if (!first) new_line(level, own);
    out_->append("]", own);
  }

  void write_dict(const Value& value, size_t level) {
    const bool own = value.own();
    std::vector<const DictObject::Entry*> entries;
    for (const auto& entry : value.dict().entries()) entries.push_back(&entry);
    if (options_.sort_keys) {
      std::stable_sort(entries.begin(), entries.end(), [&](const auto* a, const auto* b) {
        return less(context_, a->key, b->key);
      });
    }
    out_->append("{", own);
    bool first = true;
    for (const auto* entry : entries) {
      if (!first) separator(options_.item_separator, own);
      first = false;
      new_line(level + 1, own);
      write_key(entry->key);
      separator(options_.key_separator, own);
      write(entry->value, level + 1);
    }
    if (!first) new_line(level, own);
    out_->append("}", own);
  }

  void write_key(const Value& key) {
    if (key.is(Type::kString)) return write_string(key.marked());
    if (!key.is_number() && !key.is(Type::kNone)) {
      context_.fail("the keys of JSON cannot be a {}", type_name(key));
    }
    out_->append("\"", key.own());
    write(key, 0);
    out_->append("\"", key.own());
  }

  void write_string(const MarkedText& text) {
    const bool own = all_own(text);
    out_->append("\"", own);
    for_each_run(text, 0, text.text.size(), [&](size_t begin, size_t end, bool run_own) {
      size_t plain = begin;
      for (size_t pos = begin; pos < end;) {
        const size_t size = utf8_length(static_cast<unsigned char>(text.text[pos]));
        const std::string escaped = escape(utf8_decode(text.text, pos));
        if (!escaped.empty()) {
          out_->append(std::string_view(text.text).substr(plain, pos - plain), run_own);
          out_->append(escaped, run_own);
          plain = pos + size;
        }
        pos += size;
      }
      out_->append(std::string_view(text.text).substr(plain, end - plain), run_own);
    });
    out_->append("\"", own);
  }

  // Empty for a character that stands for itself.
  std::string escape(char32_t c) const {
    switch (c) {
      case '"':
        return "\\\"";
      case '\\':
        return "\\\\";
      case '\n':
        return "\\n";
      case '\r':
        return "\\r";
      case '\t':
        return "\\t";
      case '\f':
        return "\\f";
      case '\b':
        return "\\b";
      default:
        break;
    }
    const auto code = static_cast<uint32_t>(c);
    if (code < 0x20) return fmt::format("\\u{:04x}", code);
    if (!options_.ensure_ascii || code < 0x7f) return {};
    if (code < 0x10000) return fmt::format("\\u{:04x}", code);
    return fmt::format("\\u{:04x}\\u{:04x}", 0xd800 + ((code - 0x10000) >> 10),
                       0xdc00 + ((code - 0x10000) & 0x3ff));
  }

  Context& context_;
  const JsonOptions& options_;
  TextBuilder* out_;
};

}  // namespace

std::string print_integer(Int value) { return fmt::format("{}", value); }

std::string print_float(double value) {
  if (std::isnan(value)) return "nan";
  if (std::isinf(value)) return value > 0 ? "inf" : "-inf";
  char buffer[32];
  const auto result =
      std::to_chars(buffer, buffer + sizeof buffer, value, std::chars_format::scientific);
  const std::string_view text(buffer, static_cast<size_t>(result.ptr - buffer));
  const size_t e = text.find('e');
  const int exponent = std::atoi(std::string(text.substr(e + 1)).c_str());
  std::string digits;
  for (const char c : text.substr(0, e)) {
    if (c >= '0' && c <= '9') digits += c;
  }
  const std::string sign = text[0] == '-' ? "-" : "";
  const int count = static_cast<int>(digits.size());
  if (exponent < -4 || exponent >= 16) {
    return fmt::format("{}{}{}{}e{}{:02}", sign, digits[0], count > 1 ? "." : "", digits.substr(1),
                       exponent < 0 ? '-' : '+', std::abs(exponent));
  }
  if (exponent < 0) return sign + "0." + std::string(-exponent - 1, '0') + digits;
  if (count <= exponent + 1) return sign + digits + std::string(exponent + 1 - count, '0') + ".0";
  return sign + digits.substr(0, exponent + 1) + "." + digits.substr(exponent + 1);
}

void append_str(Context& context, const Value& value, TextBuilder* out) {
  if (value.is(Type::kString)) {
    out->append(value.marked());
  } else if (!value.is(Type::kUndefined)) {
    append_repr(context, value, out);
  }
}

void append_repr(Context& context, const Value& value, TextBuilder* out) {
  context.charge(1);
  const bool own = value.own();
  switch (value.type()) {
    case Type::kUndefined:
      out->append("Undefined", own);
      return;
    case Type::kNone:
      out->append("None", own);
      return;
    case Type::kBool:
      out->append(value.boolean() ? "True" : "False", own);
      return;
    case Type::kInt:
      out->append(print_integer(value.integer()), own);
      return;
    case Type::kFloat:
      out->append(print_float(value.real()), own);
      return;
    case Type::kString:
      append_string_repr(context, value, out);
      return;
    case Type::kList:
      out->append("[", own);
      append_items(context, value.items(), own, out);
      out->append("]", own);
      return;
    case Type::kTuple:
      out->append("(", own);
      append_items(context, value.items(), own, out);
      out->append(value.items().size() == 1 ? ",)" : ")", own);
      return;
    case Type::kDict:
      append_dict(context, value.dict(), own, out);
      return;
    case Type::kView:
      append_view(context, value, out);
      return;
    case Type::kRange: {
      const RangeObject& range = value.range();
      const std::string step = range.step == 1 ? "" : ", " + print_integer(range.step);
      out->append(fmt::format("range({}, {}{})", print_integer(range.start),
                              print_integer(range.stop), step),
                  own);
      return;
    }
    case Type::kIterator:
      out->append("<" + value.iterator().name + ">", own);
      return;
    case Type::kNamespace: {
      const Context::Level level(context);
      out->append("<Namespace ", own);
      append_dict(context, value.name_space().attributes, own, out);
      out->append(">", own);
      return;
    }
    case Type::kFunction:
      out->append("<" + value.function().name + ">", own);
      return;
    case Type::kObject:
      out->append(value.attribute_object().print(context), own);
      return;
  }
}

Value to_str(Context& context, const Value& value) {
  if (value.is(Type::kString) && !value.string_object().markup) return value;
  TextBuilder out(context);
  append_str(context, value, &out);
  return Value::string(out.take());
}

std::string repr(Context& context, const Value& value) {
  TextBuilder out(context);
  append_repr(context, value, &out);
  return out.take().text;
}

Value to_json(Context& context, const Value& value, const JsonOptions& options) {
  TextBuilder out(context);
  JsonWriter(context, options, &out).write(value, 0);
  return Value::string(out.take());
}

Value escape_html(Context& context, const Value& value) {
  if (value.is(Type::kString) && value.string_object().markup) return value;
  const Value string = to_str(context, value);
  const MarkedText& text = string.marked();
  TextBuilder out(context);
  for_each_run(text, 0, text.text.size(), [&](size_t begin, size_t end, bool own) {
    size_t plain = begin;
    for (size_t pos = begin; pos < end; ++pos) {
      const char* escaped = nullptr;
      switch (text.text[pos]) {
        case '&':
          escaped = "&amp;";
          break;
        case '<':
          escaped = "&lt;";
          break;
        case '>':
          escaped = "&gt;";
          break;
        case '\'':
          escaped = "&#39;";
          break;
        case '"':
          escaped = "&#34;";
          break;
        default:
          continue;
      }
      out.append(std::string_view(text.text).substr(plain, pos - plain), own);
      out.append(escaped, own);
      plain = pos + 1;
    }
    out.append(std::string_view(text.text).substr(plain, end - plain), own);
  });
  return Value::string(out.take(), true);
}

}  // namespace flashmoe::text::jinja
