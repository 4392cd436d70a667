// Holds one answer to a grammar. Owns the answer's tokens so far; the grammar is shared.
#pragma once

#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "text/grammar/compiled_grammar.h"
#include "text/token_constraint.h"

namespace flashmoe::text {

class GrammarConstraint : public TokenConstraint {
 public:
  explicit GrammarConstraint(std::shared_ptr<const CompiledGrammar> grammar)
      : grammar_(std::move(grammar)) {}

  void allowed(int64_t remaining, std::span<uint64_t> bits) override {
    grammar_->allowed(&place_, tokens_, remaining, bits);
  }
  bool may_end() const override { return grammar_->status(&place_, tokens_).may_end; }
  void accept(int32_t token) override {
    tokens_.push_back(token);
    grammar_->advance(&place_, tokens_, 1);
  }
  int64_t shortest_completion() const override {
    return grammar_->status(&place_, tokens_).shortest_completion;
  }

 private:
  std::shared_ptr<const CompiledGrammar> grammar_;
  std::vector<int32_t> tokens_;
  mutable CompiledGrammar::Place place_;  // where tokens_ lead to
};

}  // namespace flashmoe::text
