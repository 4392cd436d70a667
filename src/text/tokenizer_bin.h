// Reads tokenizer.bin, the vocabulary as the flash-moe program keeps it, into a TokenizerSpec. Owns
// the format and its bounds. The file has no pattern to split text by: it is that of Qwen3.5, the
// only family which flash-moe runs.
#pragma once

#include <string_view>

#include "text/tokenizer_spec.h"

namespace flashmoe::text {

// `name` stands in error messages: usually a path. Throws Error kCorrupt.
TokenizerSpec parse_tokenizer_bin(std::string_view bytes, std::string_view name);

}  // namespace flashmoe::text
