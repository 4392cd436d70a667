// GPT-2's spelling of bytes as printable characters, in which byte-level vocabularies are written:
// '!'..'~', U+00A1..U+00AC and U+00AE..U+00FF stand for themselves, the other 68 bytes are
// U+0100..U+0143 in order.
#pragma once

#include <string>
#include <string_view>

namespace flashmoe::text {

void append_byte_level(std::string_view bytes, std::string* out);

// Appends the bytes that `spelling` stands for. False, with *out unchanged, when it has a character
// that is not in the alphabet, or is not UTF-8.
bool from_byte_level(std::string_view spelling, std::string* out);

}  // namespace flashmoe::text
