#include "text/bpe_alphabet.h"

#include <array>
#include <cstdint>

#include "text/utf8.h"

namespace flashmoe::text {
namespace {

constexpr char32_t kAlphabetEnd = 0x144;

struct Alphabet {
  std::array<uint16_t, 256> characters{};
  std::array<int16_t, kAlphabetEnd> bytes{};  // -1: not in the alphabet
};

constexpr Alphabet make_alphabet() {
  Alphabet alphabet;
  alphabet.bytes.fill(-1);
  uint16_t next = 0x100;
  for (uint16_t byte = 0; byte < 256; ++byte) {
    const bool printable = (byte >= '!' && byte <= '~') || (byte >= 0xa1 && byte != 0xad);
    const uint16_t character = printable ? byte : next++;
    alphabet.characters[byte] = character;
    alphabet.bytes[character] = static_cast<int16_t>(byte);
  }
  return alphabet;
}

constexpr Alphabet kAlphabet = make_alphabet();

}  // namespace

void append_byte_level(std::string_view bytes, std::string* out) {
  for (const char byte : bytes) {
    utf8_append(kAlphabet.characters[static_cast<unsigned char>(byte)], out);
  }
}

bool from_byte_level(std::string_view spelling, std::string* out) {
  const size_t before = out->size();
  for (size_t pos = 0; pos < spelling.size();) {
    const Utf8Unit unit = utf8_unit(spelling, pos);
    const char32_t c = unit.kind == Utf8Unit::kValid ? utf8_decode(spelling, pos) : kAlphabetEnd;
    if (c >= kAlphabetEnd || kAlphabet.bytes[c] < 0) {
      out->resize(before);
      return false;
    }
    out->push_back(static_cast<char>(kAlphabet.bytes[c]));
    pos += unit.bytes;
  }
  return true;
}

}  // namespace flashmoe::text
