#include "text/jinja/unicode.h"

#include <utf8proc.h>

#include <algorithm>
#include <iterator>

#include "text/utf8.h"

namespace flashmoe::text::jinja {
namespace {

struct CharRange {
  char32_t first, last;
};
struct FullCase {
  char32_t from;
  const char* to;
};

#include "text/jinja/unicode_tables.inc"

template <size_t n>
bool contains(const CharRange (&ranges)[n], char32_t c) {
  const auto* it = std::upper_bound(std::begin(ranges), std::end(ranges), c,
                                    [](char32_t x, const CharRange& r) { return x < r.first; });
  return it != std::begin(ranges) && c <= std::prev(it)->last;
}

template <size_t n>
bool append_full(const FullCase (&table)[n], char32_t c, std::string* out) {
  if (c < 0x80) return false;
  const auto* it =
      std::lower_bound(std::begin(table), std::end(table), c,
                       [](const FullCase& entry, char32_t x) { return entry.from < x; });
  if (it == std::end(table) || it->from != c) return false;
  *out += it->to;
  return true;
}

utf8proc_category_t category(char32_t c) {
  return utf8proc_category(static_cast<utf8proc_int32_t>(c));
}

bool is_case_ignorable(char32_t c) {
  switch (category(c)) {
    case UTF8PROC_CATEGORY_MN:
    case UTF8PROC_CATEGORY_ME:
    case UTF8PROC_CATEGORY_CF:
    case UTF8PROC_CATEGORY_LM:
    case UTF8PROC_CATEGORY_SK:
      return true;
    default:
      break;
  }
  static constexpr char32_t kMidWord[] = {0x27,   0x2e,   0x3a,   0xb7,   0x387,  0x55f,
                                          0x5f4,  0x2018, 0x2019, 0x2024, 0x2027, 0xfe13,
                                          0xfe52, 0xfe55, 0xff07, 0xff0e, 0xff1a};
  return std::binary_search(std::begin(kMidWord), std::end(kMidWord), c);
}

constexpr char32_t kSigma = 0x3a3;

// A sigma at the end of a word: a cased character before it and none after it.
bool is_final_sigma(std::string_view text, size_t pos) {
  bool cased_before = false;
  for (size_t i = pos; i > 0 && !cased_before;) {
    i = utf8_previous(text, i);
    const char32_t c = utf8_decode(text, i);
    if (is_case_ignorable(c)) continue;
    if (!is_cased(c)) break;
    cased_before = true;
  }
  if (!cased_before) return false;
  for (size_t i = pos + 2; i < text.size();) {
    const char32_t c = utf8_decode(text, i);
    if (!is_case_ignorable(c)) return !is_cased(c);
    i += utf8_length(static_cast<unsigned char>(text[i]));
  }
  return true;
}

}  // namespace

bool is_space(char32_t c) {
  if (c < 0x80) return (c >= 9 && c <= 13) || (c >= 0x1c && c <= 0x20);
  if (c == 0x85) return true;
  const auto found = category(c);
  return found == UTF8PROC_CATEGORY_ZS || found == UTF8PROC_CATEGORY_ZL ||
         found == UTF8PROC_CATEGORY_ZP;
}

bool is_line_break(char32_t c) {
  return (c >= 0xa && c <= 0xd) || (c >= 0x1c && c <= 0x1e) || c == 0x85 || c == 0x2028 ||
         c == 0x2029;
}

bool is_alpha(char32_t c) {
  const auto found = category(c);
  return found >= UTF8PROC_CATEGORY_LU && found <= UTF8PROC_CATEGORY_LO;
}

bool is_decimal(char32_t c) { return category(c) == UTF8PROC_CATEGORY_ND; }
bool is_digit(char32_t c) { return is_decimal(c) || contains(kOtherDigit, c); }

bool is_numeric(char32_t c) {
  const auto found = category(c);
  return (found >= UTF8PROC_CATEGORY_ND && found <= UTF8PROC_CATEGORY_NO) ||
         contains(kOtherNumeric, c);
}

bool is_upper(char32_t c) {
  return category(c) == UTF8PROC_CATEGORY_LU || contains(kOtherUpper, c);
}
bool is_lower(char32_t c) {
  return category(c) == UTF8PROC_CATEGORY_LL || contains(kOtherLower, c);
}
bool is_title(char32_t c) { return category(c) == UTF8PROC_CATEGORY_LT; }
bool is_cased(char32_t c) { return is_upper(c) || is_lower(c) || is_title(c); }

bool is_printable(char32_t c) {
  if (c < 0x80) return c >= 0x20 && c < 0x7f;
  const auto found = category(c);
  return found != UTF8PROC_CATEGORY_CN && found < UTF8PROC_CATEGORY_ZS;
}

void append_upper(char32_t c, std::string* out) {
  if (append_full(kFullUpper, c, out)) return;
  utf8_append(static_cast<char32_t>(utf8proc_toupper(static_cast<utf8proc_int32_t>(c))), out);
}

void append_title(char32_t c, std::string* out) {
  if (append_full(kFullTitle, c, out)) return;
  utf8_append(static_cast<char32_t>(utf8proc_totitle(static_cast<utf8proc_int32_t>(c))), out);
}

void append_casefold(char32_t c, std::string* out) {
  utf8proc_int32_t folded[4];
  int boundary = 0;
  const auto count = utf8proc_decompose_char(static_cast<utf8proc_int32_t>(c), folded, 4,
                                             UTF8PROC_CASEFOLD, &boundary);
  for (utf8proc_ssize_t i = 0; i < count; ++i) utf8_append(static_cast<char32_t>(folded[i]), out);
}

void append_lower(std::string_view text, size_t pos, std::string* out) {
  const char32_t c = utf8_decode(text, pos);
  if (c == 0x130) {
    *out += "i\u0307";
  } else if (c == kSigma) {
    *out += is_final_sigma(text, pos) ? "\u03c2" : "\u03c3";
  } else {
    utf8_append(static_cast<char32_t>(utf8proc_tolower(static_cast<utf8proc_int32_t>(c))), out);
  }
}

int decimal_value(char32_t c) {
  if (c < 0x80) return c >= '0' && c <= '9' ? static_cast<int>(c - '0') : -1;
  if (!is_decimal(c)) return -1;
  // Decimal digits come in runs of ten that begin at a multiple of their script's zero.
  char32_t zero = c;
  int value = 0;
  while (value < 9 && is_decimal(zero - 1)) {
    --zero;
    ++value;
  }
  return value;
}

}  // namespace flashmoe::text::jinja
