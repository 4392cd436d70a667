#include "text/grammar/completion.h"

#include <algorithm>
#include <functional>
#include <queue>
#include <utility>

namespace flashmoe::text::grammar {

// Knuth's generalisation of Dijkstra's algorithm ("A generalization of Dijkstra's algorithm",
// 1977): nodes are settled in the order of their bytes, a call costing what its rule's start costs.
class CompletionFinder {
 public:
  CompletionFinder(const GrammarVocabulary& vocabulary, Automaton* automaton)
      : vocabulary_(vocabulary), automaton_(*automaton) {}

  void run() {
    const size_t count = automaton_.nodes_.size();
    before_.resize(count);
    callers_.resize(count);
    best_.assign(count, nullptr);
    settled_.assign(count, false);
    for (size_t id = 0; id < count; ++id) {
      for (const Edge& edge : automaton_.edges_[id]) {
        before_[static_cast<size_t>(edge.target)].push_back({static_cast<int32_t>(id), &edge});
        if (edge.kind == Edge::kCall) {
          callers_[static_cast<size_t>(edge.value)].push_back({static_cast<int32_t>(id), &edge});
        }
      }
      if (automaton_.nodes_[id].is_end) offer(static_cast<int32_t>(id), 0, nullptr);
    }
    while (!open_.empty()) {
      const auto [bytes, id] = open_.top();
      open_.pop();
      if (!settled_[static_cast<size_t>(id)]) settle(id);
    }
    for (size_t id = count; id-- > 0;) measure_run(static_cast<int32_t>(id));
  }

 private:
  struct Use {
    int32_t from;
    const Edge* edge;
  };

  Node& node(int32_t id) { return automaton_.nodes_[static_cast<size_t>(id)]; }

  void offer(int32_t id, int64_t bytes, const Edge* edge) {
    if (settled_[static_cast<size_t>(id)] || bytes >= node(id).bytes_to_end) return;
    node(id).bytes_to_end = bytes;
    best_[static_cast<size_t>(id)] = edge;
    open_.emplace(bytes, id);
  }

  // Both the called rule and what follows the call must be settled.
  void offer_call(const Use& use) {
    if (!settled_[static_cast<size_t>(use.edge->value)] ||
        !settled_[static_cast<size_t>(use.edge->target)]) {
      return;
    }
    offer(
        use.from,
        std::min(kNever, node(use.edge->value).bytes_to_end + node(use.edge->target).bytes_to_end),
        use.edge);
  }

  void settle(int32_t id) {
    settled_[static_cast<size_t>(id)] = true;
    node(id).tokens_to_end = tokens(id);
    for (const Use& use : before_[static_cast<size_t>(id)]) {
      if (use.edge->kind == Edge::kCall) {
        offer_call(use);
      } else {
        offer(use.from, node(id).bytes_to_end + (use.edge->kind == Edge::kEmpty ? 0 : 1), use.edge);
      }
    }
    for (const Use& use : callers_[static_cast<size_t>(id)]) offer_call(use);
  }

  // Along the best way: the best of all tokens that begin here and end before a call or the end.
  int64_t tokens(int32_t id) {
    const Edge* edge = best_[static_cast<size_t>(id)];
    if (edge == nullptr) return 0;
    if (edge->kind == Edge::kEmpty) return node(edge->target).tokens_to_end;
    if (edge->kind == Edge::kToken) return 1 + node(edge->target).tokens_to_end;
    if (edge->kind == Edge::kCall) {
      return std::min(kNever, node(edge->value).tokens_to_end + node(edge->target).tokens_to_end);
    }
    const std::vector<TokenTrie::Node>& trie = vocabulary_.trie().nodes();
    int64_t fewest = kNever;
    size_t at = 0, end = trie.size();  // the siblings to look through
    for (; edge != nullptr; edge = best_[static_cast<size_t>(edge->target)]) {
      if (edge->kind == Edge::kEmpty) continue;
      if (edge->kind != Edge::kBytes) break;
      while (at < end && trie[at].byte != edge->first) at = static_cast<size_t>(trie[at].skip);
      if (at >= end) break;
      // Of two tokens with the same bytes the second has nothing below it.
      size_t below = at;
      if (trie[at].token >= 0) fewest = std::min(fewest, 1 + node(edge->target).tokens_to_end);
      while (static_cast<size_t>(trie[below].skip) < end &&
             trie[static_cast<size_t>(trie[below].skip)].byte == edge->first) {
        below = static_cast<size_t>(trie[below].skip);
      }
      end = static_cast<size_t>(trie[below].skip);
      at = below + 1;
    }
    return fewest;
  }

  // The nodes down a run have higher ids, so they were measured before.
  void measure_run(int32_t id) {
    Run& run = node(id).run;
    if (run.set < 0) return;
    const Node& next = node(run.next);
    run.longest = std::max({node(id).tokens_to_end, next.tokens_to_end, next.run.longest});
  }

  const GrammarVocabulary& vocabulary_;
  Automaton& automaton_;
  std::vector<std::vector<Use>> before_, callers_;  // by node
  std::vector<const Edge*> best_;                   // by node; nullptr at the end of a rule
  std::vector<bool> settled_;
  using Open = std::pair<int64_t, int32_t>;
  std::priority_queue<Open, std::vector<Open>, std::greater<>> open_;
};

void find_completions(const GrammarVocabulary& vocabulary, Automaton* automaton) {
  CompletionFinder(vocabulary, automaton).run();
}

}  // namespace flashmoe::text::grammar
