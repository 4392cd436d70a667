// UTF-8 as bytes and code points: decoding, encoding and the replacement of invalid sequences.
// Owns no properties of characters: those are in utf8_properties.h.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace flashmoe::text {

inline constexpr char32_t kReplacementCharacter = 0xfffd;

// Bytes of the code point that starts with `lead`, which must be the first byte of valid UTF-8.
inline size_t utf8_length(unsigned char lead) {
  return lead < 0x80 ? 1 : lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;
}

// The code point at `pos` of valid UTF-8.
inline char32_t utf8_decode(std::string_view valid, size_t pos) {
  const auto byte = [&](size_t i) { return static_cast<unsigned char>(valid[pos + i]); };
  const char32_t lead = byte(0);
  if (lead < 0x80) return lead;
  if (lead < 0xe0) return (lead & 0x1f) << 6 | (byte(1) & 0x3f);
  if (lead < 0xf0) return (lead & 0x0f) << 12 | (byte(1) & 0x3f) << 6 | (byte(2) & 0x3f);
  return (lead & 0x07) << 18 | (byte(1) & 0x3f) << 12 | (byte(2) & 0x3f) << 6 | (byte(3) & 0x3f);
}

// Start of the code point that ends at `end` > 0 of valid UTF-8.
inline size_t utf8_previous(std::string_view valid, size_t end) {
  do --end;
  while ((static_cast<unsigned char>(valid[end]) & 0xc0) == 0x80);
  return end;
}

void utf8_append(char32_t code_point, std::string* out);

// What stands at `pos`: a valid code point, an invalid sequence, or the beginning of a code point
// that the text cuts off.
struct Utf8Unit {
  enum Kind { kValid, kInvalid, kCut };
  Kind kind;
  size_t bytes;  // kInvalid: of the longest prefix of a code point (Unicode 3.9, "maximal subpart")
};
Utf8Unit utf8_unit(std::string_view text, size_t pos);

bool is_ascii(std::string_view text);

// Length of the longest prefix that is valid UTF-8.
size_t utf8_valid_prefix(std::string_view text);

// Appends `text` to `out` with each invalid sequence replaced by one U+FFFD, as Python's
// bytes.decode('utf-8', 'replace') and Rust's from_utf8_lossy do. With keep_cut, a code point cut
// off at the end is left alone; returns the bytes consumed.
size_t utf8_append_lossy(std::string_view text, bool keep_cut, std::string* out);

}  // namespace flashmoe::text
