#include "text/utf8.h"

#include <cstring>

namespace flashmoe::text {

namespace {

size_t ascii_prefix(std::string_view text) {
  size_t pos = 0;
  for (uint64_t word; pos + sizeof word <= text.size(); pos += sizeof word) {
    std::memcpy(&word, text.data() + pos, sizeof word);
    if (word & 0x8080808080808080u) break;
  }
  while (pos < text.size() && static_cast<unsigned char>(text[pos]) < 0x80) ++pos;
  return pos;
}

}  // namespace

void utf8_append(char32_t c, std::string* out) {
  if (c < 0x80) {
    out->push_back(static_cast<char>(c));
    return;
  }
  if (c < 0x800) {
    out->push_back(static_cast<char>(0xc0 | c >> 6));
  } else {
    if (c < 0x10000) {
      out->push_back(static_cast<char>(0xe0 | c >> 12));
    } else {
      out->push_back(static_cast<char>(0xf0 | c >> 18));
      out->push_back(static_cast<char>(0x80 | (c >> 12 & 0x3f)));
    }
    out->push_back(static_cast<char>(0x80 | (c >> 6 & 0x3f)));
  }
  out->push_back(static_cast<char>(0x80 | (c & 0x3f)));
}

Utf8Unit utf8_unit(std::string_view text, size_t pos) {
  const auto lead = static_cast<unsigned char>(text[pos]);
  if (lead < 0x80) return {Utf8Unit::kValid, 1};
  if (lead < 0xc2 || lead > 0xf4) return {Utf8Unit::kInvalid, 1};
  const size_t length = utf8_length(lead);
  // The second byte's range excludes overlong forms, surrogates and code points past U+10FFFF.
  unsigned char low = 0x80, high = 0xbf;
  if (lead == 0xe0) low = 0xa0;
  if (lead == 0xed) high = 0x9f;
  if (lead == 0xf0) low = 0x90;
  if (lead == 0xf4) high = 0x8f;
  for (size_t i = 1; i < length; ++i) {
    if (pos + i == text.size()) return {Utf8Unit::kCut, i};
    const auto byte = static_cast<unsigned char>(text[pos + i]);
    if (byte < low || byte > high) return {Utf8Unit::kInvalid, i};
    low = 0x80;
    high = 0xbf;
  }
  return {Utf8Unit::kValid, length};
}

bool is_ascii(std::string_view text) { return ascii_prefix(text) == text.size(); }

size_t utf8_valid_prefix(std::string_view text) {
  size_t pos = 0;
  while (pos < text.size()) {
    pos += ascii_prefix(text.substr(pos));
    if (pos == text.size()) break;
    const Utf8Unit unit = utf8_unit(text, pos);
    if (unit.kind != Utf8Unit::kValid) break;
    pos += unit.bytes;
  }
  return pos;
}

size_t utf8_append_lossy(std::string_view text, bool keep_cut, std::string* out) {
  size_t pos = 0;
  for (;;) {
    const size_t valid_bytes = utf8_valid_prefix(text.substr(pos));
    out->append(text.substr(pos, valid_bytes));
    pos += valid_bytes;
    if (pos == text.size()) return pos;
    const Utf8Unit unit = utf8_unit(text, pos);
    if (unit.kind == Utf8Unit::kCut && keep_cut) return pos;
    utf8_append(kReplacementCharacter, out);
    pos += unit.bytes;
  }
}

}  // namespace flashmoe::text
