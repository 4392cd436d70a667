// A small language of tokens for tests: pairs of an even and an odd token, `pairs` of them at least
// and at most twice as many.
#pragma once

#include <algorithm>
#include <vector>

#include "text/token_constraint.h"

namespace flashmoe::engine {

class ToyConstraint final : public text::TokenConstraint {
 public:
  ToyConstraint(int64_t pairs, int32_t vocab) : pairs_(pairs), vocab_(vocab) {}

  void allowed(int64_t remaining, std::span<uint64_t> bits) override {
    std::fill(bits.begin(), bits.end(), 0);
    const bool odd = length_ % 2 == 1;
    if (length_ == 4 * pairs_ || (!odd && may_end() && remaining < 2)) return;
    for (int32_t t = odd ? 1 : 0; t < vocab_; t += 2) {
      bits[static_cast<size_t>(t) / 64] |= uint64_t{1} << t % 64;
    }
  }
  bool may_end() const override { return length_ % 2 == 0 && length_ >= 2 * pairs_; }
  void accept(int32_t /*token*/) override { ++length_; }
  int64_t shortest_completion() const override {
    return std::max<int64_t>(2 * pairs_ - length_, length_ % 2);
  }

  // Whether the answer is of the language.
  static bool holds(const std::vector<int32_t>& answer, int64_t pairs) {
    for (size_t i = 0; i < answer.size(); ++i) {
      if (answer[i] % 2 != static_cast<int32_t>(i % 2)) return false;
    }
    const int64_t length = static_cast<int64_t>(answer.size());
    return length % 2 == 0 && length >= 2 * pairs && length <= 4 * pairs;
  }

 private:
  int64_t pairs_;
  int32_t vocab_;
  int64_t length_ = 0;
};

}  // namespace flashmoe::engine
