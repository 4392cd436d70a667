// Generation of an answer on one session: prompt, sampling, stop tokens, thinking budget. Owns the
// loop, not the text: tokens go in and out.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "engine/sampler.h"
#include "flashmoe/engine.h"

namespace flashmoe::engine {

enum class FinishReason { kStop, kLength, kCancelled };

const char* finish_reason_name(FinishReason reason);  // "stop", "length", "cancelled"

// A limit on the tokens of the reasoning between an opening and a closing token.
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
};

struct Generation {
  std::vector<int32_t> tokens;  // without the stop token
  FinishReason finish = FinishReason::kStop;
  double first_token_s = 0;  // from the call to the first token
  double prompt_s = 0;       // of it, running the prompt
  double generate_s = 0;     // from the first token to the last
  double sampling_s = 0;
};

// Called with each token as it is picked.
using TokenSink = std::function<void(int32_t token)>;

// Runs the prompt (not empty) and generates. A stop while it works ends the generation with
// kCancelled; what was generated so far is kept. Throws Error kUsage when the prompt does not fit
// the context.
Generation generate(Session& session, std::span<const int32_t> prompt,
                    const GenerateOptions& options, const TokenSink& sink, const StopCheck& stop);

}  // namespace flashmoe::engine
