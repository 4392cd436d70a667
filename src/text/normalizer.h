// Unicode normalisation and the other text changes that come before splitting, as the normalizers
// of `tokenizers` do them. Carries along which bytes the chat template wrote.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "text/pre_tokenizer_pattern.h"
#include "text/tokenizer_spec.h"

namespace flashmoe::text {

// Text with one flag per byte: was it written by the template? A changed passage counts as the
// template's when all it was made from is. No flags at all stand for one flag for the whole text.
struct FlaggedText {
  std::string text;
  std::vector<bool> trusted;
};

class Normalizer {
 public:
  Normalizer(const std::vector<NormalizerStep>& steps, const std::string& name);

  bool empty() const { return steps_.empty(); }
  // The text must be valid UTF-8, and stays so.
  void apply(FlaggedText* text) const;
  std::string apply(std::string_view text) const;

 private:
  struct Step {
    NormalizerStep spec;
    Pattern pattern;  // kReplace only
  };
  std::vector<Step> steps_;
};

}  // namespace flashmoe::text
