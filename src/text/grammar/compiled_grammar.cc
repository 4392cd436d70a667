#include "text/grammar/compiled_grammar.h"

#include <algorithm>
#include <utility>

#include "base/check.h"
#include "base/error.h"

namespace flashmoe::text {

CompiledGrammar::CompiledGrammar(const Grammar& grammar,
                                 std::shared_ptr<const GrammarVocabulary> vocabulary,
                                 size_t memory_bytes)
    : vocabulary_(std::move(vocabulary)),
      automaton_(grammar, *vocabulary_),
      shortest_(automaton_.node(automaton_.start()).tokens_to_end),
      memory_bytes_(memory_bytes) {
  if (shortest_ >= grammar::kNever) {
    throw_error(
        ErrorCode::kUsage,
        "no finite text matches: from '{}' every way leads back to a rule that calls itself, "
        "or to what nothing matches",
        grammar.rule_name(grammar.root()));
  }
  // Tables are made here, not where a token would wait for them.
  for (int32_t id = 0; id < automaton_.node_count(); ++id) {
    const grammar::Run& run = automaton_.node(id).run;
    if (run.set >= 0)
      vocabulary_->slice(automaton_.sets()[static_cast<size_t>(run.set)], run.chars);
  }
  states_ = std::make_unique<grammar::States>(automaton_);
  walk_.resize(static_cast<size_t>(vocabulary_->trie().max_depth()) + 1);
}

CompiledGrammar::State CompiledGrammar::after(State state, int32_t token) const {
  if (vocabulary_->is_special(token)) return states_->after_token(state, token);
  const std::string_view bytes = vocabulary_->bytes(token);
  return bytes.empty() ? grammar::States::kDead : states_->after_bytes(state, bytes);
}

// A place of an older generation is found again by its text.
void CompiledGrammar::revive(Place* place, std::span<const int32_t> tokens) const {
  if (states_->bytes() > memory_bytes_ / 2) {
    states_ = std::make_unique<grammar::States>(automaton_);
    masks_.clear();
    masks_bytes_ = 0;
    ++generation_;
  }
  if (place->generation == generation_) return;
  *place = {states_->start(), generation_};
  for (const int32_t token : tokens) {
    place->state = after(place->state, token);
    CHECK(place->state != grammar::States::kDead);
  }
}

void CompiledGrammar::advance(Place* place, std::span<const int32_t> tokens, size_t count) const {
  const std::lock_guard lock(mutex_);
  revive(place, tokens.first(tokens.size() - count));
  for (const int32_t token : tokens.last(count)) {
    place->state = after(place->state, token);
    CHECK(place->state != grammar::States::kDead);
  }
}

CompiledGrammar::Status CompiledGrammar::status(Place* place,
                                                std::span<const int32_t> tokens) const {
  const std::lock_guard lock(mutex_);
  revive(place, tokens);
  return {states_->may_end(place->state), states_->tokens_to_end(place->state)};
}

CompiledGrammar::Mask CompiledGrammar::find_mask(State state, int64_t limit) const {
  Mask mask;
  const grammar::States::RunPlace run = states_->longest_run(state);
  // Only tokens that stay in the run and end in time can be taken from a table all at once.
  if (run.set >= 0 && run.longest <= limit) {
    mask.slice = vocabulary_->slice(automaton_.sets()[static_cast<size_t>(run.set)], run.chars);
  }
  const auto consider = [&](State next, int32_t token) {
    const int64_t tokens = states_->tokens_to_end(next);
    if (tokens > limit) return;
    mask.others.push_back(token);
    mask.longest = std::max(mask.longest, tokens);
  };
  if (mask.slice != nullptr) mask.longest = run.longest;
  for (const int32_t token : states_->tokens(state)) {
    consider(states_->after_token(state, token), token);
  }
  const std::vector<grammar::TokenTrie::Node>& nodes =
      (mask.slice != nullptr ? mask.slice->others : vocabulary_->trie()).nodes();
  walk_[0] = state;
  for (size_t i = 0; i < nodes.size();) {
    const grammar::TokenTrie::Node& node = nodes[i];
    const State next = states_->after_byte(walk_[node.depth - size_t{1}], node.byte);
    if (next == grammar::States::kDead) {
      i = static_cast<size_t>(node.skip);
      continue;
    }
    walk_[node.depth] = next;
    if (node.token >= 0) consider(next, node.token);
    ++i;
  }
  return mask;
}

const CompiledGrammar::Mask& CompiledGrammar::remembered_mask(State state) const {
  if (const auto found = masks_.find(state); found != masks_.end()) return found->second;
  if (masks_bytes_ > memory_bytes_ / 2) {
    masks_.clear();
    masks_bytes_ = 0;
  }
  Mask& mask = masks_[state] = find_mask(state, grammar::kNever - 1);
  mask.others.shrink_to_fit();
  masks_bytes_ += sizeof mask + mask.others.size() * sizeof(int32_t) + 64;
  return mask;
}

void CompiledGrammar::allowed(Place* place, std::span<const int32_t> tokens, int64_t remaining,
                              std::span<uint64_t> bits) const {
  CHECK(bits.size() >= vocabulary_->mask_words());
  const std::lock_guard lock(mutex_);
  revive(place, tokens);
  const State state = place->state;
  const auto write = [&](const Mask& mask) {
    std::fill(bits.begin(), bits.end(), 0);
    if (mask.slice != nullptr) {
      std::copy(mask.slice->tokens.begin(), mask.slice->tokens.end(), bits.begin());
    }
    for (const int32_t token : mask.others) {
      bits[static_cast<size_t>(token) / 64] |= uint64_t{1} << (token % 64);
    }
  };
  const Mask& all = remembered_mask(state);
  const int64_t left = remaining - 1;  // after the token that is asked for
  if (left >= all.longest || states_->tokens_to_end(state) > remaining) {
    write(all);
  } else {
    write(find_mask(state, left));
  }
}

}  // namespace flashmoe::text
