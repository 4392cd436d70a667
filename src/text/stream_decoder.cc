#include "text/stream_decoder.h"

#include <utility>

#include "text/utf8.h"

namespace flashmoe::text {

std::string StreamDecoder::push(int32_t id) {
  std::string text;
  if (skip_special_ && tokenizer_->is_special(id)) return text;
  pending_ += tokenizer_->token_bytes(id);
  pending_.erase(0, utf8_append_lossy(pending_, true, &text));
  return text;
}

std::string StreamDecoder::finish() {
  std::string text;
  utf8_append_lossy(std::exchange(pending_, {}), false, &text);
  return text;
}

}  // namespace flashmoe::text
