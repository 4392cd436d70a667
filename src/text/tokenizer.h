// Text to token ids and back: byte-level BPE exactly as Hugging Face `tokenizers` does it. Made
// from tokenizer.json or from a TokenizerSpec. Adds no special tokens of its own (as
// add_special_tokens=False), and neither truncates nor pads.
//
// Special tokens form only from text that is known to be meant so: bytes of a MarkedText that the
// template wrote, or any with parse_special. Elsewhere they stay text, as in `tokenizers` with
// encode_special_tokens = True. Added tokens that are not special match everywhere.
//
// Text that is not UTF-8, which `tokenizers` cannot take, is read with one U+FFFD for each invalid
// sequence, as Python's bytes.decode('utf-8', 'replace') does.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "text/marked_text.h"
#include "text/tokenizer_spec.h"

namespace flashmoe::text {

// Immutable; all methods may be called from several threads at once.
class Tokenizer {
 public:
  // `name` stands in error messages: usually the path that the JSON came from.
  static Tokenizer from_json(std::string_view json, std::string_view name);
  static Tokenizer from_file(const std::string& path);
  explicit Tokenizer(const TokenizerSpec& spec);
  Tokenizer(Tokenizer&&) noexcept;
  Tokenizer& operator=(Tokenizer&&) noexcept;
  ~Tokenizer();

  std::vector<int32_t> encode(const MarkedText& text) const;
  std::vector<int32_t> encode(std::string_view text, bool parse_special) const;

  // Ids that no token has are left out; bytes that are not UTF-8 become U+FFFD.
  std::string decode(const std::vector<int32_t>& ids, bool skip_special) const;

  // The bytes that a token stands for; perhaps a part of a character. Empty when there is no such
  // token.
  std::string_view token_bytes(int32_t id) const;
  bool is_special(int32_t id) const;
  // By content for added tokens, by byte-level spelling for others.
  std::optional<int32_t> id_of(std::string_view token) const;
  // One more than the highest id.
  int32_t vocab_size() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace flashmoe::text
