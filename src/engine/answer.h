// One answer as it grows: from the logits after the last token to the next token. Owns what that
// takes: the sampler, the place in the reasoning, the grammar's state, and tokens that are put in
// without being sampled. Runs nothing; generate() and the Batcher feed it.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "engine/sampler.h"
#include "flashmoe/engine.h"
#include "text/token_constraint.h"

namespace flashmoe::engine {

enum class FinishReason { kStop, kLength, kCancelled };

const char* finish_reason_name(FinishReason reason);  // "stop", "length", "cancelled"

// The reasoning between an opening and a closing token, and a limit on its tokens.
struct ThinkBudget {
  int64_t limit = -1;          // tokens of reasoning; -1: none
  int32_t open = -1;           // "<think>"; -1: the model has none
  std::vector<int32_t> close;  // what is put in when the budget is used up, "</think>" first
};

struct GenerateOptions {
  int64_t max_tokens = -1;  // -1: until the model stops or the context is full
  SamplingOptions sampling;
  std::vector<int32_t> stop_tokens;
  ThinkBudget think;
  // Added to the logits of these tokens.
  std::vector<std::pair<int32_t, float>> logit_bias;
  // How many of the most probable tokens are told beside each token; 0: its own probability alone;
  // -1: nothing is told.
  int logprobs = -1;
};

struct TokenLogprob {
  int32_t token = -1;
  float logprob = 0;  // natural logarithm
};

// A token of the answer. Probabilities are the model's own: at temperature 1, before biases,
// penalties and grammar.
struct TokenEvent {
  int32_t token = -1;
  float logprob = 0;              // 0 unless GenerateOptions::logprobs >= 0
  std::vector<TokenLogprob> top;  // most probable first, the lowest id on ties
};

// Follows whether the text is inside a reasoning section, and how long that has become. An answer
// has one section at most: what looks like another after its end is text.
class ThinkTracker {
 public:
  ThinkTracker(const ThinkBudget& budget, std::span<const int32_t> prompt);

  void see(int32_t token);  // the answer's next
  bool inside() const { return inside_; }
  bool used_up() const { return inside_ && budget_.limit >= 0 && count_ >= budget_.limit; }
  // Whether the answer may begin with a section: none is open, and none was just closed, which is
  // how templates switch reasoning off.
  bool may_open() const;

 private:
  void follow(int32_t token);

  ThinkBudget budget_;
  bool inside_ = false;
  int64_t count_ = 0;    // tokens since the last opening or closing, or the beginning
  bool closed_ = false;  // the last of these was a closing
  bool over_ = false;    // the answer's section has been closed
};

class Answer {
 public:
  static constexpr int kMaxLogprobs = 20;

  // An answer to `prompt` (not empty) on `engine`, held to `constraint` if there is one. Throws
  // Error kUsage when the prompt does not fit the context, a token is outside the vocabulary, an
  // option is out of range, or the constraint cannot be met within max_tokens.
  Answer(const Engine& engine, std::span<const int32_t> prompt, GenerateOptions options,
         std::unique_ptr<text::TokenConstraint> constraint = nullptr);

  // The next token, from the logits [vocab] after the last one; nullopt when the answer ends there
  // instead. Call it only while the answer has not ended.
  std::optional<TokenEvent> next(std::span<const float> logits);

  bool ended() const { return ended_; }
  FinishReason finish() const { return finish_; }
  const std::vector<int32_t>& tokens() const { return tokens_; }  // without the stop token
  // The stop token that ended it, if probabilities are told.
  const std::optional<TokenEvent>& stop_event() const { return stop_event_; }

 private:
  int64_t remaining() const { return limit_ - static_cast<int64_t>(tokens_.size()); }
  bool reasoning_must_close() const;
  // Whether an answer under the constraint may begin with reasoning here.
  bool reasoning_may_open() const;
  // Forbids in logits_ what the constraint does not allow; false when it allows nothing more.
  bool constrain();
  void end(FinishReason finish);

  GenerateOptions options_;
  std::unique_ptr<text::TokenConstraint> constraint_;
  int64_t limit_;  // tokens
  Sampler sampler_;
  ThinkTracker think_;
  std::vector<int32_t> forced_;  // still to be put in, last first
  std::vector<int32_t> tokens_;
  std::vector<float> logits_;
  std::vector<uint64_t> allowed_;  // a bit for each token
  std::optional<TokenEvent> stop_event_;
  bool ended_ = false;
  FinishReason finish_ = FinishReason::kLength;
};

// The probabilities of `token` and of the `top` most probable tokens under logits [vocab].
TokenEvent with_logprobs(std::span<const float> logits, int32_t token, int top);

}  // namespace flashmoe::engine
