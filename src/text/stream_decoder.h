// Token ids in, whole UTF-8 out, as they are generated. What it emits, joined, is what
// Tokenizer::decode gives for all ids at once.
#pragma once

#include <cstdint>
#include <string>

#include "text/tokenizer.h"

namespace flashmoe::text {

class StreamDecoder {
 public:
  // The tokenizer must outlive the decoder.
  StreamDecoder(const Tokenizer& tokenizer, bool skip_special)
      : tokenizer_(&tokenizer), skip_special_(skip_special) {}

  // Text that is certain now: never a part of a character. Bytes that cannot be UTF-8 are U+FFFD.
  std::string push(int32_t id);
  // The rest: U+FFFD for a character that was cut off. Starts over.
  std::string finish();

 private:
  const Tokenizer* tokenizer_;
  bool skip_special_;
  std::string pending_;  // the beginning of a character, at most 3 bytes
};

}  // namespace flashmoe::text
