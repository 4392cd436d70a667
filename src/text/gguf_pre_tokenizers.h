// The pre-tokenizers that GGUF files name (`tokenizer.ggml.pre`), with the patterns that their
// models' tokenizers split by. Owns names and patterns, not the splitting.
#pragma once

#include <string_view>
#include <vector>

namespace flashmoe::text {

struct GgufPreTokenizer {
  std::vector<std::string_view> names;     // that mean the same
  std::vector<std::string_view> patterns;  // one after the other; each match is a piece of its own
  bool ignore_merges = false;              // a whole piece that is a token stays that token
  bool add_bos = false;                    // unless the file says otherwise
  bool nfc = false;                        // text is normalised, which no key says
};

// nullptr for names that are not known. Those that are known but are no byte-level BPE have no
// patterns.
const GgufPreTokenizer* find_gguf_pre_tokenizer(std::string_view name);

}  // namespace flashmoe::text
