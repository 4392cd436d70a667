// An answer in our own terms, as it grows and as a whole: what the codecs turn into each API's
// form. Owns only data.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace flashmoe::server {

struct Logprob {
  std::string token;  // its bytes; perhaps a part of a character
  int32_t id = -1;
  float logprob = 0;
};
struct TokenLogprobs {
  Logprob chosen;
  std::vector<Logprob> top;
  bool known = true;  // false for a prompt's first token: its probability is nobody's guess
};

enum class Finish {
  kStop,      // the model ended, or a stop string came
  kLength,    // max_tokens, or the context is full
  kToolCall,  // the model ended, and called tools
};

struct Event {
  enum Kind {
    kReasoning,      // text
    kText,           // text, logprobs
    kToolCall,       // tool, id, text: the name
    kToolArguments,  // tool, text: a piece of the arguments' JSON
    kEnd,            // finish, stop_string; the last of a choice
  };
  Kind kind = kText;
  int choice = 0;
  std::string text = {};
  int tool = -1;        // of the choice's calls, from 0
  std::string id = {};  // without an API's prefix
  std::vector<TokenLogprobs> logprobs = {};
  Finish finish = Finish::kStop;
  std::string stop_string = {};  // that ended it; empty: none
};

struct Usage {
  int64_t prompt_tokens = 0;
  int64_t cached_tokens = 0;  // of these, not run again
  int64_t answer_tokens = 0;
  int64_t reasoning_tokens = 0;  // of these
  int64_t total() const { return prompt_tokens + answer_tokens; }
};

struct Call {
  std::string id, name, arguments;
};

struct Choice {
  std::string reasoning, text;
  std::vector<Call> calls;
  std::vector<TokenLogprobs> logprobs;
  Finish finish = Finish::kStop;
  std::string stop_string;
};

struct Answer {
  std::vector<Choice> choices;
  Usage usage;

  void add(const Event& event);
};

}  // namespace flashmoe::server
