// Writes a TokenizerSpec as tokenizer.json, for programs that read no other tokenizer. Owns
// nothing; the reader is tokenizer_json.h.
#pragma once

#include <string>

#include "text/tokenizer_spec.h"

namespace flashmoe::text {

// For specifications as GgufText and tokenizer.bin give them: of normalizers NFC, of steps Split by
// an isolated pattern and ByteLevel. Every token keeps its id.
std::string tokenizer_json(const TokenizerSpec& spec);

}  // namespace flashmoe::text
