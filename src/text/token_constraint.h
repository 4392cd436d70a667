// What a grammar asks of an answer, in tokens. Owns only the interface between whoever knows the
// grammar (text/) and whoever samples (engine/).
#pragma once

#include <cstdint>
#include <span>

namespace flashmoe::text {

// The state of one answer. It sees the tokens of the answer alone: none of the prompt, none of the
// reasoning before it, no stop token.
class TokenConstraint {
 public:
  virtual ~TokenConstraint() = default;

  // Sets bit t of `bits` [(vocab + 63) / 64] for each token t that may come next, and clears the
  // others. `remaining` tokens may still be generated, that one included: a token after which the
  // answer could not be completed within them is ruled out, unless none could.
  virtual void allowed(int64_t remaining, std::span<uint64_t> bits) = 0;
  // Whether the answer may end here; then the sampler allows the model's stop tokens as well.
  virtual bool may_end() const = 0;
  // `token` was generated; it was allowed.
  virtual void accept(int32_t token) = 0;
  // The fewest tokens that complete the answer from here.
  virtual int64_t shortest_completion() const = 0;
};

}  // namespace flashmoe::text
