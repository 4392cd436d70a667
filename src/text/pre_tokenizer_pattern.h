// Regular expressions of tokenizer.json, run by PCRE2 with its JIT. They are written for
// Oniguruma: what means something else in PCRE2 is translated, what cannot be is refused.
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>

#include "text/tokenizer_spec.h"

struct pcre2_real_code_8;
struct pcre2_real_match_data_8;

namespace flashmoe::text {

// The same expression in PCRE2's syntax, for the options that Pattern compiles with. Throws
// kUnsupported, naming `name`, for constructs that have no equal there.
std::string translate_regex(std::string_view oniguruma, const std::string& name);

// A compiled pattern: immutable, to be shared between threads.
class Pattern {
 public:
  Pattern() = default;  // matches nothing
  Pattern(const PatternSpec& spec, const std::string& name);

 private:
  friend class PatternMatcher;
  std::shared_ptr<pcre2_real_code_8> code_;
  bool jit_ = false;
  std::string source_;  // for messages
};

// Walks the matches of a pattern in one text, as Oniguruma's find_iter does: left to right, without
// overlap, and no empty match right after another match.
class PatternMatcher {
 public:
  struct Match {
    size_t begin = 0;
    size_t end = 0;
  };

  PatternMatcher(const Pattern& pattern, std::string_view valid_utf8) : pattern_(pattern) {
    reset(valid_utf8);
  }
  // Starts over with another text; keeps the memory.
  void reset(std::string_view valid_utf8) {
    text_ = valid_utf8;
    pos_ = 0;
    last_end_ = static_cast<size_t>(-1);
  }
  bool next(Match* match);

 private:
  struct FreeMatchData {
    void operator()(pcre2_real_match_data_8* data) const;
  };
  bool search(Match* match);

  const Pattern& pattern_;
  std::string_view text_;
  size_t pos_ = 0;
  size_t last_end_ = 0;
  std::unique_ptr<pcre2_real_match_data_8, FreeMatchData> data_;
  size_t* offsets_ = nullptr;
};

}  // namespace flashmoe::text
