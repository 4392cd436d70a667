#include "text/added_tokens.h"

#include <algorithm>

#include "base/error.h"
#include "text/utf8.h"
#include "text/utf8_properties.h"

namespace flashmoe::text {
AddedTokenFinder::AddedTokenFinder(const std::vector<AddedToken>& tokens, const std::string& name)
    : tokens_(tokens),
      nodes_(1),
      may_begin_(256, false),
      word_({'[' + std::string(kRustWord) + ']', true}, name) {
  for (uint32_t i = 0; i < tokens_.size(); ++i) {
    uint32_t node = 0;
    for (const char c : tokens_[i].content) {
      const auto byte = static_cast<unsigned char>(c);
      uint32_t next = child_of(node, byte);
      if (next == 0) {
        next = static_cast<uint32_t>(nodes_.size());
        nodes_.push_back({0, nodes_[node].child, kNone, byte});
        nodes_[node].child = next;
      }
      node = next;
    }
    if (nodes_[node].token != kNone) {
      throw_error(ErrorCode::kCorrupt, "{}: the added tokens {} and {} both match '{}'", name,
                  tokens_[nodes_[node].token].id, tokens_[i].id, tokens_[i].content);
    }
    nodes_[node].token = i;
    may_begin_[static_cast<unsigned char>(tokens_[i].content.front())] = true;
    has_special_ = has_special_ || tokens_[i].special;
  }
}

uint32_t AddedTokenFinder::child_of(uint32_t node, unsigned char byte) const {
  uint32_t child = nodes_[node].child;
  while (child != 0 && nodes_[child].byte != byte) child = nodes_[child].sibling;
  return child;
}

const AddedToken* AddedTokenFinder::match(std::string_view text, size_t pos) const {
  const AddedToken* longest = nullptr;
  for (uint32_t node = 0; pos < text.size(); ++pos) {
    node = child_of(node, static_cast<unsigned char>(text[pos]));
    if (node == 0) break;
    if (nodes_[node].token != kNone) longest = &tokens_[nodes_[node].token];
  }
  return longest;
}

bool AddedTokenFinder::is_word(std::string_view text, size_t pos) const {
  char32_t c = utf8_decode(text, pos);
  stand_in_for(c, &c);
  std::string character;
  utf8_append(c, &character);
  PatternMatcher::Match match;
  return PatternMatcher(word_, character).next(&match);
}

bool AddedTokenFinder::stands_alone(std::string_view text, size_t begin, size_t end) const {
  return (begin == 0 || !is_word(text, utf8_previous(text, begin))) &&
         (end == text.size() || !is_word(text, end));
}

void AddedTokenFinder::find(std::string_view text, const IsTrusted& is_trusted,
                            std::vector<Span>* spans) const {
  spans->clear();
  size_t done = 0;  // where the text that has no span yet begins
  for (size_t pos = 0; pos < text.size();) {
    const AddedToken* token = nullptr;
    while (pos < text.size() && !may_begin_[static_cast<unsigned char>(text[pos])]) ++pos;
    if (pos == text.size() || (token = match(text, pos)) == nullptr) {
      ++pos;
      continue;
    }
    size_t begin = pos, end = pos + token->content.size();
    if (token->special) {
      size_t untrusted = begin;
      while (untrusted < end && is_trusted(untrusted)) ++untrusted;
      if (untrusted < end) {
        // Go on after the match, unless the template's text begins within it.
        for (pos = untrusted + 1; pos < end && !is_trusted(pos);) ++pos;
        continue;
      }
    }
    pos = end;
    if (token->single_word && !stands_alone(text, begin, end)) continue;
    if (token->lstrip) {
      while (begin > done) {
        const size_t previous = utf8_previous(text, begin);
        if (previous < done || !is_white_space(utf8_decode(text, previous))) break;
        begin = previous;
      }
    }
    if (token->rstrip) {
      while (end < text.size() && is_white_space(utf8_decode(text, end))) {
        end += utf8_length(static_cast<unsigned char>(text[end]));
      }
    }
    if (done < begin) spans->push_back({done, begin, -1});
    spans->push_back({begin, end, token->id});
    done = end;
  }
  if (done != text.size()) spans->push_back({done, text.size(), -1});
}

}  // namespace flashmoe::text
