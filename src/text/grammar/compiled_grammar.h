// A grammar made ready for a vocabulary: from it come the states of a text and, for each, which
// tokens may follow. Made once and shared by all answers that are held to it; what it works out it
// remembers.
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <span>
#include <unordered_map>
#include <vector>

#include "text/grammar/automaton.h"
#include "text/grammar/grammar.h"
#include "text/grammar/states.h"
#include "text/grammar/vocabulary.h"

namespace flashmoe::text {

// May be used from several threads.
class CompiledGrammar {
 public:
  // Throws Error kUsage for a grammar that is wrong, too large, or has no finite text.
  // `memory_bytes` bounds, about, what is remembered; more is worked out anew.
  CompiledGrammar(const Grammar& grammar, std::shared_ptr<const GrammarVocabulary> vocabulary,
                  size_t memory_bytes = size_t{16} << 20);

  // The fewest tokens, as far as a way is known, of a text that matches: no answer may be limited
  // to less.
  int64_t shortest() const { return shortest_; }
  const GrammarVocabulary& vocabulary() const { return *vocabulary_; }

  // Where a text is, for GrammarConstraint. Old states are forgotten when memory is short; then
  // `generation` tells, and the text is followed anew.
  struct Place {
    grammar::States::State state = 0;
    uint64_t generation = 0;
  };
  // `tokens` are the whole text, whose last `count` come after `place`.
  void advance(Place* place, std::span<const int32_t> tokens, size_t count) const;
  // As TokenConstraint's.
  void allowed(Place* place, std::span<const int32_t> tokens, int64_t remaining,
               std::span<uint64_t> bits) const;
  struct Status {
    bool may_end;
    int64_t shortest_completion;
  };
  Status status(Place* place, std::span<const int32_t> tokens) const;

 private:
  using State = grammar::States::State;
  // What may follow a state: the tokens of `slice`, if any, and `others`.
  struct Mask {
    const GrammarVocabulary::Slice* slice = nullptr;
    std::vector<int32_t> others;
    int64_t longest = 0;  // the most tokens to the end after any of them
  };
  void revive(Place* place, std::span<const int32_t> tokens) const;
  State after(State state, int32_t token) const;
  // The tokens after which at most `limit` tokens complete the text.
  Mask find_mask(State state, int64_t limit) const;
  const Mask& remembered_mask(State state) const;

  std::shared_ptr<const GrammarVocabulary> vocabulary_;
  grammar::Automaton automaton_;
  int64_t shortest_;
  size_t memory_bytes_;
  mutable std::mutex mutex_;  // of what follows
  mutable std::unique_ptr<grammar::States> states_;
  mutable std::unordered_map<State, Mask> masks_;
  mutable size_t masks_bytes_ = 0;
  mutable uint64_t generation_ = 0;
  mutable std::vector<State> walk_;  // states on the way down the trie
};

}  // namespace flashmoe::text
