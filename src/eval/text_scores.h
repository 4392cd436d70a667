// How well a model foretells a text, and how far it is from another model there. Owns the cut of
// the text into windows and the statistics.
//
// The text is run in windows of `window` tokens which begin every `stride` tokens, each with an
// empty context. A window foretells its tokens and the one after it. Every token but the text's
// first is scored once, in the first window that foretells it; with stride = window, the default,
// those at a window's beginning have little context.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <vector>

#include "flashmoe/engine.h"

namespace flashmoe::eval {

// Distance from a base model's distributions, in nats a token. p99 is the smallest figure that 99 %
// of the tokens do not exceed.
struct Divergence {
  double kl_mean = 0, kl_p99 = 0, kl_p999 = 0, kl_max = 0;
  double top1 = 0;  // share of tokens for which both models' most probable one is the same
  double base_perplexity = 0;
};

struct TextScores {
  int64_t tokens = 0;  // scored
  double perplexity = 0;
  std::optional<Divergence> divergence;
};

struct TextOptions {
  int64_t window = 2048;  // at most the engines' context
  int64_t stride = 0;     // 0: the window
  std::function<void(int64_t done_tokens)> progress{};
  StopCheck stop{};
};

// ln of the softmax of logits [n], for two models and one token: what scores are made of. Sums are
// in double.
struct TokenScore {
  double log_probability = 0;       // the model's, of the token that follows
  double base_log_probability = 0;  // these three only with a base
  double kl = 0;                    // from base to model
  bool same_top = false;
};
// `base` may be empty.
TokenScore score_token(std::span<const float> logits, std::span<const float> base, int32_t next);

// `base` may be nullptr; it has the model's vocabulary. Throws Error kUsage for a text of fewer
// than two tokens.
TextScores score_text(Engine& engine, Engine* base, std::span<const int32_t> tokens,
                      const TextOptions& options);

}  // namespace flashmoe::eval
