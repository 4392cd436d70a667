// A grammar: rules over Unicode text, as a tree of expressions that callers build. Owns the tree;
// how it is written down is in gbnf.h, how it is matched in automaton.h.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace flashmoe::text {

struct CodePointRange {
  char32_t first = 0;
  char32_t last = 0;  // inclusive
  bool operator==(const CodePointRange&) const = default;
};

// A set of code points: ascending ranges that neither overlap nor touch, without surrogates.
using CodePointSet = std::vector<CodePointRange>;

// The set of any ranges; what is no code point (surrogates, past U+10FFFF) falls out.
CodePointSet code_point_set(std::vector<CodePointRange> ranges);
CodePointSet complement(const CodePointSet& set);
CodePointSet intersection(const CodePointSet& a, const CodePointSet& b);

class Grammar {
 public:
  using Expr = int32_t;  // an index into the expressions of this grammar
  using Rule = int32_t;
  static constexpr int64_t kNoLimit = -1;

  struct Node {
    enum Kind {
      kLiteral,      // text
      kOneOf,        // a code point of `set`
      kSequence,     // all of `parts`
      kChoice,       // one of `parts`
      kRepeat,       // parts[0], min to max times
      kCall,         // rule
      kTextWithout,  // any text in which `text` (ASCII) does not occur
      kTag,          // `text`, as the special token of that name if the vocabulary has one
    };
    Kind kind;
    std::string text = {};
    CodePointSet set = {};
    std::vector<Expr> parts = {};
    int64_t min = 0, max = 0;
    Rule rule = -1;
  };

  Expr literal(std::string_view text);  // UTF-8; empty is fine
  Expr one_of(CodePointSet set);        // an empty set matches nothing
  Expr sequence(std::vector<Expr> parts);
  Expr choice(std::vector<Expr> parts);  // none matches nothing
  Expr repeat(Expr part, int64_t min, int64_t max);
  Expr optional(Expr part) { return repeat(part, 0, 1); }
  Expr call(Rule rule);
  Expr text_without(std::string_view text);
  Expr tag(std::string_view text);

  // A rule may be called before it is defined.
  Rule add_rule(std::string name);
  void define(Rule rule, Expr body);
  void set_root(Rule rule) { root_ = rule; }

  Rule root() const { return root_; }
  int32_t rule_count() const { return static_cast<int32_t>(rules_.size()); }
  const std::string& rule_name(Rule rule) const;
  Expr body(Rule rule) const;  // -1: not defined
  const Node& node(Expr expr) const;

 private:
  struct NamedRule {
    std::string name;
    Expr body = -1;
  };
  Expr add(Node node);

  std::vector<Node> nodes_;
  std::vector<NamedRule> rules_;
  Rule root_ = 0;
};

}  // namespace flashmoe::text
