// Picks the next token from logits. Owns its random numbers and its counts of the tokens seen;
// equal settings, seed and logits give equal tokens on every machine. Ties always go to the lowest
// token id.
#pragma once

#include <cstdint>
#include <span>
#include <unordered_map>
#include <vector>

namespace flashmoe::engine {

// Applied in this order: penalties, temperature, top-k, top-p, min-p, as transformers does.
struct SamplingOptions {
  float temperature = 1.0f;         // 0: greedy, the most probable token
  int top_k = 0;                    // 0: all
  float top_p = 1.0f;               // [0, 1]; 1: all, 0: the most probable
  float min_p = 0.0f;               // [0, 1]; share of the most probable token's probability
  float repetition_penalty = 1.0f;  // > 0; 1: none. Divides positive logits of tokens seen,
                                    // prompt included, and multiplies negative ones
  float presence_penalty = 0.0f;    // subtracted once from each token generated so far
  float frequency_penalty = 0.0f;   // subtracted for each time it was generated
  uint64_t seed = 0;

  // Throws Error kUsage naming the option that is out of range.
  void check() const;
};

class Sampler {
 public:
  explicit Sampler(const SamplingOptions& options);

  // Tokens that count for the penalties without having been generated.
  void see_prompt(std::span<const int32_t> tokens);
  // Picks a token and counts it as generated. logits [vocab] are used up.
  int32_t sample(std::span<float> logits);
  // Counts a token that was generated without being sampled (forced).
  void see_generated(int32_t token);

 private:
  struct Candidate {
    int32_t token;
    float logit;
  };

  void apply_penalties(std::span<float> logits) const;
  double uniform();  // [0, 1), 53 bits

  SamplingOptions options_;
  uint64_t random_[4];  // xoshiro256++ (Blackman and Vigna, 2019)
  struct Seen {
    bool in_context = false;
    int generated = 0;
  };
  std::unordered_map<int32_t, Seen> seen_;
  std::vector<Candidate> candidates_;
  std::vector<double> probabilities_;
};

// The id of the largest value, the lowest on ties.
int32_t argmax(std::span<const float> logits);

}  // namespace flashmoe::engine
