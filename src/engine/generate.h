// An answer on one session, from the prompt to its end. Owns the loop, not the text: tokens go in
// and out. For many answers at once there is the Batcher.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "engine/answer.h"
#include "flashmoe/engine.h"

namespace flashmoe::engine {

struct Generation {
  std::vector<int32_t> tokens;           // without the stop token
  std::optional<TokenEvent> stop_event;  // which is this, if probabilities are told
  FinishReason finish = FinishReason::kStop;
  int64_t prompt_tokens = 0;
  int64_t cached_tokens = 0;  // of these, found in the prefix cache
  double queued_s = 0;        // from the request to the first step
  double first_token_s = 0;   // from the request to the first token
  double prompt_s = 0;        // of it, running the prompt
  double generate_s = 0;      // from the first token to the last
  double sampling_s = 0;
};

// Called with each token as it is picked.
using TokenSink = std::function<void(const TokenEvent& event)>;

// Runs the prompt (not empty) and generates. A stop while it works ends the generation with
// kCancelled; what was generated so far is kept. Throws Error kUsage as Answer does.
Generation generate(Session& session, std::span<const int32_t> prompt,
                    const GenerateOptions& options, const TokenSink& sink, const StopCheck& stop,
                    std::unique_ptr<text::TokenConstraint> constraint = nullptr);

}  // namespace flashmoe::engine
