// A grammar as a network of nodes: each rule is a graph from its start to its end whose edges take
// a byte, take a special token, take nothing, or call another rule. Owns the network; who walks it
// keeps the stack of calls (states.h).
#pragma once

#include <cstdint>
#include <limits>
#include <span>
#include <vector>

#include "text/grammar/grammar.h"
#include "text/grammar/vocabulary.h"

namespace flashmoe::text::grammar {

inline constexpr int64_t kNever = std::numeric_limits<int64_t>::max() / 4;  // an endless completion

struct Edge {
  enum Kind : uint8_t { kBytes, kToken, kEmpty, kCall };
  Kind kind;
  uint8_t first = 0, last = 0;  // kBytes, inclusive
  int32_t value = 0;            // kToken: the token. kCall: the start node of the rule
  int32_t target = 0;
};

// Where any number of characters of a set, up to a limit, may come next, without leaving the rule.
struct Run {
  static constexpr int64_t kNoLimit = std::numeric_limits<int64_t>::max();
  int32_t set = -1;  // index into Automaton::sets, or -1: no such place
  int64_t chars = 0;
  int32_t next = -1;    // the node after one character
  int64_t longest = 0;  // the largest Node::tokens_to_end of this node and those down the run
};

struct Node {
  int32_t rule = -1;
  bool is_end = false;  // of the rule
  Run run = {};
  // To the end of the rule; kNever if it cannot be reached. Bytes is the fewest, a special token
  // counting as one. Tokens is how many a way that is known takes, at most as many as bytes; from a
  // node with tokens n > 0 there is always a token to a place with n - 1, in the same rule or with
  // calls underway counted in.
  int64_t bytes_to_end = kNever;
  int64_t tokens_to_end = kNever;
};

class Automaton {
 public:
  // Throws Error kUsage when a rule is not defined or left-recursive, or the grammar is too large.
  Automaton(const Grammar& grammar, const GrammarVocabulary& vocabulary);

  int32_t start() const { return start_; }
  const Node& node(int32_t id) const { return nodes_[static_cast<size_t>(id)]; }
  std::span<const Edge> edges(int32_t id) const { return edges_[static_cast<size_t>(id)]; }
  int32_t node_count() const { return static_cast<int32_t>(nodes_.size()); }
  const std::vector<CodePointSet>& sets() const { return sets_; }

 private:
  friend class AutomatonBuilder;
  friend class CompletionFinder;
  std::vector<Node> nodes_;
  std::vector<std::vector<Edge>> edges_;  // by node
  std::vector<CodePointSet> sets_;
  int32_t start_ = -1;
};

}  // namespace flashmoe::text::grammar
