// Reads tokenizer.json into a TokenizerSpec. Owns the format; checks that what it reads is
// complete, of the right type and bounded.
#pragma once

#include <string_view>

#include "text/tokenizer_spec.h"

namespace flashmoe::text {

// Throws kCorrupt for what no tokenizer.json may hold, kUnsupported for what is not byte-level BPE
// or not known here.
TokenizerSpec parse_tokenizer_json(std::string_view json, std::string_view name);

}  // namespace flashmoe::text
