// The few properties of characters that `tokenizers` takes from other Unicode versions than our
// libraries do, so that both see the same text. `tokenizers` splits by Oniguruma's Unicode 16 and
// normalises by a table of Unicode 11; Debian 12's PCRE2 and utf8proc know Unicode 14.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace flashmoe::text {

// True when `c` is newer than Unicode 14 (or has another category here than in Oniguruma);
// *stand_in is then an older code point of the category it should have, as long in UTF-8.
bool stand_in_for(char32_t c, char32_t* stand_in);

// Replaces every code point that needs it by its stand-in. Returns false and leaves *out alone
// when there is none: the usual case. Offsets stay valid.
bool replace_by_stand_ins(std::string_view valid, std::string* out);

// True when the normalisation of `tokenizers` does not know `c`: it neither decomposes nor
// composes nor reorders it.
bool is_inert_in_normalization(char32_t c);

// Unicode's White_Space.
bool is_white_space(char32_t c);

// Lowercase of one code point as Rust's char::to_lowercase gives it, appended as UTF-8.
void append_lowercase(char32_t c, std::string* out);

// \w of Rust's regex crate, which differs from Oniguruma's: the inside of a regular expression's
// class.
extern const char* const kRustWord;

// A regular expression's class with the characters that the Punctuation pre-tokenizer isolates.
extern const char* const kPunctuationClass;

}  // namespace flashmoe::text
