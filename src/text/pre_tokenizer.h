// Splits text into the pieces that byte-pair encoding works on, as the pre-tokenizers of
// `tokenizers` do. Owns the compiled patterns; knows nothing of tokens.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "text/pre_tokenizer_pattern.h"
#include "text/tokenizer_spec.h"

namespace flashmoe::text {

class PieceSink {
 public:
  virtual ~PieceSink() = default;
  // Never empty. The bytes live for the duration of the call.
  virtual void piece(std::string_view bytes) = 0;
};

class PreTokenizer {
  struct Step;

 public:
  PreTokenizer(const std::vector<PreTokenizerStep>& steps, const std::string& name);

  // Memory for one run at a time; must not outlive its PreTokenizer.
  class Scratch {
   public:
    explicit Scratch(const PreTokenizer& owner);

   private:
    friend class PreTokenizer;
    struct Span {
      size_t begin, end;
      bool is_match;
    };
    struct PerStep {
      PatternMatcher matcher;
      std::vector<Span> spans;
      std::string text, shadow;
    };
    std::vector<PerStep> steps_;
    std::string shadow_, bytes_;
  };

  // Sends the pieces of `valid_utf8` to `sink` in order.
  void run(std::string_view valid_utf8, Scratch* scratch, PieceSink* sink) const;

 private:
  // Text, and the same with stand-ins (utf8_properties.h), which patterns see instead.
  struct Piece {
    std::string_view text, shadow;
    Piece part(size_t begin, size_t end) const {
      return {text.substr(begin, end - begin), shadow.substr(begin, end - begin)};
    }
  };
  struct Step {
    enum Kind { kSplit, kPrefixSpace, kMapBytes };
    Kind kind = kSplit;
    Pattern pattern;
    SplitBehavior behavior = SplitBehavior::kIsolated;
    bool invert = false;
  };

  void apply(size_t step, Piece piece, Scratch* scratch, PieceSink* sink) const;
  void split(size_t step, Piece piece, Scratch* scratch, PieceSink* sink) const;
  void split_and_merge(size_t step, Piece piece, Scratch* scratch, PieceSink* sink) const;

  std::vector<Step> steps_;
  bool maps_bytes_ = false;  // pieces end up in byte-level spelling
};

}  // namespace flashmoe::text
