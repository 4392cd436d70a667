#include "text/grammar/automaton.h"

#include <algorithm>
#include <map>
#include <string>
#include <utility>

#include "base/error.h"
#include "text/grammar/completion.h"
#include "text/grammar/utf8_ranges.h"

namespace flashmoe::text::grammar {

namespace {

constexpr int32_t kMaxNodes = 1 << 20;
// Expressions up to this size without calls are copied into the rules that call them, so that the
// walker needs no stack for them, and a token may reach from one into the other.
constexpr int kInlineSize = 64;
constexpr int kMaxDepth = 1000;  // of nested expressions
// Sets smaller than this are not worth a table of tokens.
constexpr char32_t kMinRunSet = 16;

char32_t set_size(const CodePointSet& set) {
  char32_t size = 0;
  for (const CodePointRange& range : set) size += range.last - range.first + 1;
  return size;
}

}  // namespace

class AutomatonBuilder {
 public:
  AutomatonBuilder(const Grammar& grammar, const GrammarVocabulary& vocabulary, Automaton* out)
      : grammar_(grammar), vocabulary_(vocabulary), out_(*out) {}

  void build() {
    const auto rules = static_cast<size_t>(grammar_.rule_count());
    inline_.resize(rules);
    if (rules == 0) throw Error(ErrorCode::kUsage, "the grammar has no rules");
    for (int32_t rule = 0; rule < grammar_.rule_count(); ++rule) {
      int size = 0;
      inline_[static_cast<size_t>(rule)] =
          grammar_.body(rule) >= 0 && measure(grammar_.body(rule), &size);
    }
    starts_.assign(rules, -1);
    out_.start_ = start_of(grammar_.root());
    // start_of queues the rules that are called: only those are built.
    for (size_t i = 0; i < queue_.size(); ++i) {
      const Grammar::Rule rule = queue_[i];
      rule_ = rule;
      const int32_t end = add_node();
      out_.nodes_[static_cast<size_t>(end)].is_end = true;
      expand(grammar_.body(rule), starts_[static_cast<size_t>(rule)], end, 0);
    }
  }

  const std::vector<int32_t>& starts() const { return starts_; }

 private:
  // Whether the expression makes no calls and is small.
  bool measure(Grammar::Expr expr, int* size) const {
    const Grammar::Node& node = grammar_.node(expr);
    *size += 1 + static_cast<int>(std::min<size_t>(node.text.size(), kInlineSize));
    if (*size > kInlineSize || node.kind == Grammar::Node::kCall) return false;
    if (node.kind == Grammar::Node::kRepeat && std::max(node.min, node.max) > 4) return false;
    return std::all_of(node.parts.begin(), node.parts.end(),
                       [&](Grammar::Expr part) { return measure(part, size); });
  }

  int32_t start_of(Grammar::Rule rule) {
    int32_t& start = starts_[static_cast<size_t>(rule)];
    if (start < 0) {
      if (grammar_.body(rule) < 0) {
        throw_error(ErrorCode::kUsage, "the rule '{}' is called but not defined",
                    grammar_.rule_name(rule));
      }
      const Grammar::Rule caller = std::exchange(rule_, rule);
      start = add_node();
      rule_ = caller;
      queue_.push_back(rule);
    }
    return start;
  }

  int32_t add_node() {
    if (out_.node_count() >= kMaxNodes) {
      throw_error(ErrorCode::kUsage,
                  "the grammar is too large: repetitions that are counted up to large numbers, or "
                  "very many alternatives, need more than {} nodes",
                  kMaxNodes);
    }
    out_.nodes_.push_back({.rule = rule_});
    out_.edges_.emplace_back();
    return out_.node_count() - 1;
  }

  void add_edge(int32_t from, const Edge& edge) {
    out_.edges_[static_cast<size_t>(from)].push_back(edge);
  }
  void add_empty(int32_t from, int32_t to) { add_edge(from, {.kind = Edge::kEmpty, .target = to}); }
  void add_bytes(int32_t from, ByteRange range, int32_t to) {
    add_edge(from, {.kind = Edge::kBytes, .first = range.first, .last = range.last, .target = to});
  }

  // Makes the ways from `from` to `to` that the expression describes.
  void expand(Grammar::Expr expr, int32_t from, int32_t to, int depth) {
    if (depth > kMaxDepth) throw Error(ErrorCode::kUsage, "the grammar is nested too deeply");
    const Grammar::Node& node = grammar_.node(expr);
    switch (node.kind) {
      case Grammar::Node::kLiteral:
        literal(node.text, from, to);
        break;
      case Grammar::Node::kOneOf:
        one_of(node.set, from, to);
        break;
      case Grammar::Node::kSequence: {
        int32_t here = from;
        for (size_t i = 0; i < node.parts.size(); ++i) {
          const int32_t next = i + 1 < node.parts.size() ? add_node() : to;
          expand(node.parts[i], here, next, depth + 1);
          here = next;
        }
        if (node.parts.empty()) add_empty(from, to);
        break;
      }
      case Grammar::Node::kChoice:
        choice(node, from, to, depth);
        break;
      case Grammar::Node::kRepeat:
        repeat(node, from, to, depth);
        break;
      case Grammar::Node::kCall:
        if (inline_[static_cast<size_t>(node.rule)]) {
          expand(grammar_.body(node.rule), from, to, depth + 1);
        } else {
          add_edge(from, {.kind = Edge::kCall, .value = start_of(node.rule), .target = to});
        }
        break;
      case Grammar::Node::kTextWithout:
        text_without(node.text, from, to);
        break;
      case Grammar::Node::kTag:
        if (const auto token = vocabulary_.special(node.text)) {
          add_edge(from, {.kind = Edge::kToken, .value = *token, .target = to});
        } else {
          literal(node.text, from, to);
        }
        break;
    }
  }

  void literal(std::string_view text, int32_t from, int32_t to) {
    if (text.empty()) return add_empty(from, to);
    for (size_t i = 0; i < text.size(); ++i) {
      const int32_t next = i + 1 < text.size() ? add_node() : to;
      const auto byte = static_cast<uint8_t>(text[i]);
      add_bytes(from, {byte, byte}, next);
      from = next;
    }
  }

  void one_of(const CodePointSet& set, int32_t from, int32_t to) {
    // Sequences that end alike share their ends.
    std::map<std::vector<ByteRange>, int32_t> ends;
    for (const std::vector<ByteRange>& sequence : utf8_sequences(set)) {
      int32_t target = to;
      for (size_t i = sequence.size() - 1; i > 0; --i) {
        const auto [end, added] = ends.try_emplace({sequence.begin() + i, sequence.end()}, -1);
        if (added) {
          end->second = add_node();
          add_bytes(end->second, sequence[i], target);
        }
        target = end->second;
      }
      add_bytes(from, sequence[0], target);
    }
  }

  // Alternatives that begin with literals of their own alone share what they begin with: an enum of
  // a thousand names is one tree.
  void choice(const Grammar::Node& node, int32_t from, int32_t to, int depth) {
    std::map<std::pair<int32_t, uint8_t>, int32_t> tree;
    for (const Grammar::Expr part : node.parts) {
      const Grammar::Node& alternative = grammar_.node(part);
      if (alternative.kind != Grammar::Node::kLiteral || alternative.text.empty()) {
        expand(part, from, to, depth + 1);
        continue;
      }
      int32_t here = from;
      for (const char c : alternative.text) {
        const auto byte = static_cast<uint8_t>(c);
        const auto [next, added] = tree.try_emplace({here, byte}, -1);
        if (added) {
          next->second = add_node();
          add_bytes(here, {byte, byte}, next->second);
        }
        here = next->second;
      }
      add_empty(here, to);
    }
  }

  void repeat(const Grammar::Node& node, int32_t from, int32_t to, int depth) {
    const Grammar::Expr part = node.parts[0];
    const int32_t set = run_set(part);
    const bool endless = node.max == Grammar::kNoLimit;
    int32_t here = from;
    // What is copied must not be entered again from its own inside: a place of its own.
    const auto step = [&](int64_t left) {
      const int32_t next = add_node();
      if (set >= 0) {
        const int64_t chars = endless ? Run::kNoLimit : left;
        out_.nodes_[static_cast<size_t>(here)].run = {set, chars, next};
      }
      expand(part, here, next, depth + 1);
      here = next;
    };
    // `from` may have other ways out, which characters of a run do not take: it gets no run unless
    // it is ours.
    here = add_node();
    add_empty(from, here);
    for (int64_t i = 0; i < node.min; ++i) step(node.max - i);
    if (endless) {
      const int32_t loop = add_node();
      add_empty(here, loop);
      if (set >= 0) out_.nodes_[static_cast<size_t>(loop)].run = {set, Run::kNoLimit, loop};
      expand(part, loop, loop, depth + 1);
      here = loop;
    } else {
      for (int64_t i = node.min; i < node.max; ++i) {
        add_empty(here, to);
        step(node.max - i);
      }
    }
    add_empty(here, to);
  }

  // The set of characters of which the expression takes any one, if that is worth knowing.
  int32_t run_set(Grammar::Expr expr) {
    const Grammar::Node* node = &grammar_.node(expr);
    for (int i = 0; node->kind == Grammar::Node::kCall && i < kMaxDepth; ++i) {
      if (!inline_[static_cast<size_t>(node->rule)]) return -1;
      node = &grammar_.node(grammar_.body(node->rule));
    }
    const CodePointSet* largest = nullptr;
    const auto consider = [&](const Grammar::Node& n) {
      if (n.kind != Grammar::Node::kOneOf || set_size(n.set) < kMinRunSet) return;
      if (largest == nullptr || set_size(n.set) > set_size(*largest)) largest = &n.set;
    };
    consider(*node);
    if (node->kind == Grammar::Node::kChoice) {
      for (const Grammar::Expr part : node->parts) consider(grammar_.node(part));
    }
    return largest == nullptr ? -1 : add_set(*largest);
  }

  int32_t add_set(const CodePointSet& set) {
    const auto found = std::find(out_.sets_.begin(), out_.sets_.end(), set);
    if (found == out_.sets_.end()) {
      out_.sets_.push_back(set);
      return static_cast<int32_t>(out_.sets_.size() - 1);
    }
    return static_cast<int32_t>(found - out_.sets_.begin());
  }

  // Knuth, Morris and Pratt's automaton: node i stands for the first i bytes of `text` seen last.
  void text_without(std::string_view text, int32_t from, int32_t to) {
    std::vector<int32_t> nodes;
    for (size_t i = 0; i < text.size(); ++i) {
      nodes.push_back(add_node());
      add_empty(nodes.back(), to);
    }
    add_empty(from, nodes[0]);
    std::vector<size_t> border(text.size(), 0);  // of the first i bytes: its longest proper one
    for (size_t i = 2; i < text.size(); ++i) {
      size_t b = border[i - 1];
      while (b > 0 && text[b] != text[i - 1]) b = border[b];
      border[i] = text[b] == text[i - 1] ? b + 1 : 0;
    }
    const CodePointSet others = code_point_set({{0x80, 0x10ffff}});
    for (size_t i = 0; i < text.size(); ++i) {
      const auto target = [&](uint8_t byte) {
        size_t b = i;
        while (b > 0 && static_cast<uint8_t>(text[b]) != byte) b = border[b];
        return static_cast<uint8_t>(text[b]) == byte ? b + 1 : 0;
      };
      for (int first = 0; first < 0x80;) {
        const size_t next = target(static_cast<uint8_t>(first));
        int last = first;
        while (last < 0x7f && target(static_cast<uint8_t>(last + 1)) == next) ++last;
        if (next < text.size()) {
          add_bytes(nodes[i], {static_cast<uint8_t>(first), static_cast<uint8_t>(last)},
                    nodes[next]);
        }
        first = last + 1;
      }
      one_of(others, nodes[i], nodes[0]);
    }
    const auto head = static_cast<unsigned char>(text[0]);
    const int32_t set = add_set(complement(code_point_set({{head, head}})));
    out_.nodes_[static_cast<size_t>(nodes[0])].run = {set, Run::kNoLimit, nodes[0]};
  }

  const Grammar& grammar_;
  const GrammarVocabulary& vocabulary_;
  Automaton& out_;
  std::vector<bool> inline_;          // by rule
  std::vector<int32_t> starts_;       // by rule, or -1
  std::vector<Grammar::Rule> queue_;  // rules with a start
  Grammar::Rule rule_ = -1;           // being built
};

namespace {

// A rule that may call itself before anything is taken would be called for ever.
void refuse_left_recursion(const Automaton& automaton, const Grammar& grammar,
                           const std::vector<int32_t>& starts) {
  const auto rules = static_cast<size_t>(grammar.rule_count());
  std::vector<std::vector<int32_t>> calls(rules);  // that a rule may begin with
  std::vector<bool> seen(static_cast<size_t>(automaton.node_count()));
  for (size_t rule = 0; rule < rules; ++rule) {
    if (starts[rule] < 0) continue;
    std::vector<int32_t> open = {starts[rule]};
    seen[static_cast<size_t>(starts[rule])] = true;
    const auto visit = [&](int32_t node) {
      if (!seen[static_cast<size_t>(node)]) open.push_back(node);
      seen[static_cast<size_t>(node)] = true;
    };
    while (!open.empty()) {
      const int32_t id = open.back();
      open.pop_back();
      for (const Edge& edge : automaton.edges(id)) {
        if (edge.kind == Edge::kEmpty) visit(edge.target);
        if (edge.kind != Edge::kCall) continue;
        const Node& called = automaton.node(edge.value);
        calls[rule].push_back(called.rule);
        if (called.bytes_to_end == 0) visit(edge.target);
      }
    }
  }
  // Depth first over the rules; `next` is where to go on in a rule's calls.
  enum : char { kNew, kOpen, kDone };
  std::vector<char> state(rules, kNew);
  std::vector<size_t> next(rules, 0);
  for (size_t root = 0; root < rules; ++root) {
    std::vector<size_t> path;
    if (state[root] == kNew) path.push_back(root);
    while (!path.empty()) {
      const size_t rule = path.back();
      state[rule] = kOpen;
      if (next[rule] == calls[rule].size()) {
        state[rule] = kDone;
        path.pop_back();
        continue;
      }
      const auto called = static_cast<size_t>(calls[rule][next[rule]++]);
      if (state[called] == kOpen) {
        throw_error(ErrorCode::kUsage,
                    "'{}' can begin with itself before anything is written (left recursion); in a "
                    "grammar, write it as a repetition: a ::= b c*",
                    grammar.rule_name(static_cast<int32_t>(called)));
      }
      if (state[called] == kNew) path.push_back(called);
    }
  }
}

}  // namespace

Automaton::Automaton(const Grammar& grammar, const GrammarVocabulary& vocabulary) {
  AutomatonBuilder builder(grammar, vocabulary, this);
  builder.build();
  find_completions(vocabulary, this);
  refuse_left_recursion(*this, grammar, builder.starts());
}

}  // namespace flashmoe::text::grammar
