// What a tokenizer is, as data: made from tokenizer.json (tokenizer_json.h) or from GGUF metadata,
// run by Tokenizer. Owns no behaviour.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace flashmoe::text {

struct AddedToken {
  std::string content;
  int32_t id = 0;
  bool special = false;      // left out by decode(skip_special); forms only from template text
  bool normalized = false;   // matched after normalisation, in its own normalised form
  bool lstrip = false;       // takes white space before it along
  bool rstrip = false;       // takes white space after it along
  bool single_word = false;  // matches only between non-word characters
};

// A pattern of a Split or Replace step: literal text, or a regular expression in Oniguruma's
// syntax.
struct PatternSpec {
  std::string text;
  bool is_regex = false;
};

struct NormalizerStep {
  enum Kind { kNfc, kNfd, kNfkc, kNfkd, kLowercase, kStrip, kPrepend, kReplace };
  Kind kind = kNfc;
  bool strip_left = false, strip_right = false;  // kStrip
  PatternSpec pattern;                           // kReplace
  std::string content;                           // kPrepend, kReplace
};

// What becomes of the matches of a Split step. Pieces are never empty.
enum class SplitBehavior {
  kRemoved,             // dropped
  kIsolated,            // a piece each
  kMergedWithPrevious,  // end the piece before
  kMergedWithNext,      // begin the piece after
  kContiguous,          // neighbouring matches are one piece
};

struct PreTokenizerStep {
  enum Kind { kSplit, kByteLevel };
  Kind kind = kSplit;
  PatternSpec pattern;  // kSplit
  SplitBehavior behavior = SplitBehavior::kIsolated;
  bool invert = false;            // kSplit: what does not match counts as a match
  bool add_prefix_space = false;  // kByteLevel
  bool use_regex = false;         // kByteLevel: split by GPT-2's pattern
};

struct TokenizerSpec {
  struct Token {
    std::string text;  // in byte-level spelling (bpe_alphabet.h)
    int32_t id = 0;
  };
  std::string name;  // for error messages: usually a path
  std::vector<Token> vocab;
  std::vector<std::pair<std::string, std::string>> merges;  // by rank; byte-level spelling
  std::vector<AddedToken> added_tokens;
  std::vector<NormalizerStep> normalizers;
  std::vector<PreTokenizerStep> pre_tokenizers;  // exactly one is kByteLevel
  std::optional<std::string> unk_token;          // for bytes that are not in the vocabulary
  bool fuse_unk = false;                         // neighbouring unknown bytes give one unk_token
  bool ignore_merges = false;                    // a whole piece that is a token stays that token
  // Added tokens that are not in the vocabulary are numbered on from it, as `tokenizers` does
  // whatever ids its file names. False: they have any free ids.
  bool numbers_added_on = true;
};

}  // namespace flashmoe::text
