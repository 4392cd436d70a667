#include "text/grammar/grammar.h"

#include <algorithm>
#include <utility>

#include "base/check.h"

namespace flashmoe::text {

namespace {

constexpr char32_t kLastCodePoint = 0x10ffff;
constexpr char32_t kFirstSurrogate = 0xd800, kLastSurrogate = 0xdfff;

}  // namespace

CodePointSet code_point_set(std::vector<CodePointRange> ranges) {
  std::vector<CodePointRange> valid;
  for (CodePointRange range : ranges) {
    range.last = std::min(range.last, kLastCodePoint);
    if (range.first > range.last) continue;
    if (range.last < kFirstSurrogate || range.first > kLastSurrogate) {
      valid.push_back(range);
      continue;
    }
    if (range.first < kFirstSurrogate) valid.push_back({range.first, kFirstSurrogate - 1});
    if (range.last > kLastSurrogate) valid.push_back({kLastSurrogate + 1, range.last});
  }
  std::sort(valid.begin(), valid.end(),
            [](const auto& a, const auto& b) { return a.first < b.first; });
  CodePointSet set;
  for (const CodePointRange& range : valid) {
    if (!set.empty() && range.first <= set.back().last + 1) {
      set.back().last = std::max(set.back().last, range.last);
    } else {
      set.push_back(range);
    }
  }
  return set;
}

CodePointSet complement(const CodePointSet& set) {
  std::vector<CodePointRange> gaps;
  char32_t next = 0;
  for (const CodePointRange& range : set) {
    if (range.first > next) gaps.push_back({next, range.first - 1});
    next = range.last + 1;
  }
  if (next <= kLastCodePoint) gaps.push_back({next, kLastCodePoint});
  return code_point_set(std::move(gaps));
}

CodePointSet intersection(const CodePointSet& a, const CodePointSet& b) {
  std::vector<CodePointRange> both;
  for (size_t i = 0, j = 0; i < a.size() && j < b.size();) {
    const char32_t first = std::max(a[i].first, b[j].first);
    const char32_t last = std::min(a[i].last, b[j].last);
    if (first <= last) both.push_back({first, last});
    a[i].last < b[j].last ? ++i : ++j;
  }
  return code_point_set(std::move(both));
}

Grammar::Expr Grammar::add(Node node) {
  nodes_.push_back(std::move(node));
  return static_cast<Expr>(nodes_.size() - 1);
}

Grammar::Expr Grammar::literal(std::string_view text) {
  return add({.kind = Node::kLiteral, .text = std::string(text)});
}

Grammar::Expr Grammar::one_of(CodePointSet set) {
  return add({.kind = Node::kOneOf, .set = std::move(set)});
}

Grammar::Expr Grammar::sequence(std::vector<Expr> parts) {
  if (parts.size() == 1) return parts[0];
  return add({.kind = Node::kSequence, .parts = std::move(parts)});
}

Grammar::Expr Grammar::choice(std::vector<Expr> parts) {
  if (parts.size() == 1) return parts[0];
  return add({.kind = Node::kChoice, .parts = std::move(parts)});
}

Grammar::Expr Grammar::repeat(Expr part, int64_t min, int64_t max) {
  CHECK(min >= 0 && (max == kNoLimit || max >= min));
  return add({.kind = Node::kRepeat, .parts = {part}, .min = min, .max = max});
}

Grammar::Expr Grammar::call(Rule rule) {
  CHECK(rule >= 0 && rule < rule_count());
  return add({.kind = Node::kCall, .rule = rule});
}

Grammar::Expr Grammar::text_without(std::string_view text) {
  CHECK(!text.empty());
  return add({.kind = Node::kTextWithout, .text = std::string(text)});
}

Grammar::Expr Grammar::tag(std::string_view text) {
  return add({.kind = Node::kTag, .text = std::string(text)});
}

Grammar::Rule Grammar::add_rule(std::string name) {
  rules_.push_back({std::move(name)});
  return rule_count() - 1;
}

void Grammar::define(Rule rule, Expr body) {
  CHECK(rule >= 0 && rule < rule_count());
  rules_[static_cast<size_t>(rule)].body = body;
}

const std::string& Grammar::rule_name(Rule rule) const {
  return rules_[static_cast<size_t>(rule)].name;
}

Grammar::Expr Grammar::body(Rule rule) const { return rules_[static_cast<size_t>(rule)].body; }

const Grammar::Node& Grammar::node(Expr expr) const { return nodes_[static_cast<size_t>(expr)]; }

}  // namespace flashmoe::text
