#include "text/utf8_properties.h"

#include <utf8proc.h>

#include <algorithm>
#include <iterator>

#include "text/utf8.h"

namespace flashmoe::text {
namespace {

struct Range {
  char32_t first, last;
};
struct StandInRange {
  char32_t first, last, stand_in;
};

#include "text/utf8_tables.inc"

template <typename Entry, size_t kSize>
const Entry* find(const Entry (&table)[kSize], char32_t c) {
  const Entry* entry = std::upper_bound(std::begin(table), std::end(table), c,
                                        [](char32_t x, const Entry& e) { return x < e.first; });
  if (entry == std::begin(table) || (--entry)->last < c) return nullptr;
  return entry;
}

// Lowercase letters newer than utf8proc 2.8, by their distance from the uppercase letter.
struct LowercaseRange {
  char32_t first, last;
  int distance;
};
constexpr LowercaseRange kNewLowercase[] = {
    {0x1c89, 0x1c89, 1},      {0xa7cb, 0xa7cb, 0x264 - 0xa7cb},
    {0xa7cc, 0xa7cc, 1},      {0xa7ce, 0xa7ce, 1},
    {0xa7d2, 0xa7d2, 1},      {0xa7d4, 0xa7d4, 1},
    {0xa7da, 0xa7da, 1},      {0xa7dc, 0xa7dc, 0x19b - 0xa7dc},
    {0x10d50, 0x10d65, 0x20}, {0x16ea0, 0x16eb8, 0x1b},
};

}  // namespace

const char* const kPunctuationClass = kPunctuation;

const char* const kRustWord =
    R"(\p{L}\p{Nl}\p{M}\p{Nd}\p{Pc}\x{24b6}-\x{24e9}\x{1f130}-\x{1f149}\x{1f150}-\x{1f169})"
    R"(\x{1f170}-\x{1f189}\x{200c}\x{200d})";

bool stand_in_for(char32_t c, char32_t* stand_in) {
  const StandInRange* range = find(kStandIns, c);
  if (range == nullptr) return false;
  *stand_in = range->stand_in;
  return true;
}

bool replace_by_stand_ins(std::string_view valid, std::string* out) {
  bool found = false;
  size_t done = 0;
  for (size_t pos = 0; pos < valid.size();) {
    const auto lead = static_cast<unsigned char>(valid[pos]);
    if (lead < 0xe0) {  // the table begins at U+0897
      ++pos;
      continue;
    }
    const size_t bytes = utf8_length(lead);
    char32_t stand_in;
    // Most text of three bytes is in CJK or Hangul blocks, where the table is empty.
    const bool common = lead >= 0xe4 && lead <= 0xed && lead != 0xea;
    if (!common && stand_in_for(utf8_decode(valid, pos), &stand_in)) {
      if (!found) out->clear();
      found = true;
      out->append(valid.substr(done, pos - done));
      utf8_append(stand_in, out);
      done = pos + bytes;
    }
    pos += bytes;
  }
  if (found) out->append(valid.substr(done));
  return found;
}

bool is_inert_in_normalization(char32_t c) { return find(kInert, c) != nullptr; }

bool is_white_space(char32_t c) {
  return (c >= 0x9 && c <= 0xd) || c == 0x20 || c == 0x85 || c == 0xa0 || c == 0x1680 ||
         (c >= 0x2000 && c <= 0x200a) || c == 0x2028 || c == 0x2029 || c == 0x202f || c == 0x205f ||
         c == 0x3000;
}

void append_lowercase(char32_t c, std::string* out) {
  if (c == 0x130) {  // I with dot above: the one letter with a longer lowercase
    utf8_append('i', out);
    utf8_append(0x307, out);
    return;
  }
  if (const LowercaseRange* range = find(kNewLowercase, c)) {
    utf8_append(static_cast<char32_t>(static_cast<int>(c) + range->distance), out);
    return;
  }
  utf8_append(static_cast<char32_t>(utf8proc_tolower(static_cast<utf8proc_int32_t>(c))), out);
}

}  // namespace flashmoe::text
