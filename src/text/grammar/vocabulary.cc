#include "text/grammar/vocabulary.h"

#include <algorithm>
#include <utility>

#include "base/error.h"
#include "text/utf8.h"

namespace flashmoe::text {

namespace {

// Steps of Slice's max_chars. Few tokens are longer than the last.
constexpr int kSliceChars[] = {4, 16};
// Slices kept, of up to a few MB; a set comes from a schema's pattern, so there may be any number.
constexpr size_t kMaxSlices = 24;

bool contains(const CodePointSet& set, char32_t c) {
  const auto after = std::upper_bound(
      set.begin(), set.end(), c, [](char32_t v, const auto& range) { return v < range.first; });
  return after != set.begin() && c <= std::prev(after)->last;
}

bool all_within(const CodePointSet& set, std::string_view bytes, int max_chars) {
  int chars = 0;
  for (size_t pos = 0; pos < bytes.size(); ++chars) {
    const Utf8Unit unit = utf8_unit(bytes, pos);
    if (unit.kind != Utf8Unit::kValid || chars == max_chars) return false;
    if (!contains(set, utf8_decode(bytes, pos))) return false;
    pos += unit.bytes;
  }
  return true;
}

}  // namespace

GrammarVocabulary::GrammarVocabulary(const Tokenizer& tokenizer) : tokenizer_(&tokenizer) {
  std::vector<std::pair<std::string_view, int32_t>> tokens;
  std::vector<bool> single(256);
  for (int32_t token = 0; token < size(); ++token) {
    const std::string_view text = bytes(token);
    if (text.empty() || text.size() > UINT16_MAX || is_special(token)) continue;
    tokens.emplace_back(text, token);
    if (text.size() == 1) single[static_cast<unsigned char>(text[0])] = true;
  }
  for (int byte = 0; byte < 256; ++byte) {
    const bool in_utf8 = byte != 0xc0 && byte != 0xc1 && byte < 0xf5;
    if (in_utf8 && !single[static_cast<size_t>(byte)]) {
      throw_error(ErrorCode::kUnsupported,
                  "the tokenizer has no token for the byte 0x{:02x}, so answers cannot be held to "
                  "a grammar",
                  byte);
    }
  }
  trie_ = std::make_unique<grammar::TokenTrie>(std::move(tokens));
}

std::optional<int32_t> GrammarVocabulary::special(std::string_view name) const {
  const std::optional<int32_t> id = tokenizer_->id_of(name);
  return id && is_special(*id) ? id : std::nullopt;
}

bool GrammarVocabulary::SetOrder::operator()(const std::pair<CodePointSet, int>& a,
                                             const std::pair<CodePointSet, int>& b) const {
  if (a.second != b.second) return a.second < b.second;
  return std::lexicographical_compare(
      a.first.begin(), a.first.end(), b.first.begin(), b.first.end(),
      [](auto x, auto y) { return x.first != y.first ? x.first < y.first : x.last < y.last; });
}

const GrammarVocabulary::Slice* GrammarVocabulary::slice(const CodePointSet& set,
                                                         int64_t chars) const {
  int max_chars = 0;
  for (const int step : kSliceChars) {
    if (step <= chars) max_chars = step;
  }
  if (max_chars == 0) return nullptr;
  const std::lock_guard lock(mutex_);
  const auto key = std::make_pair(set, max_chars);
  if (const auto found = slices_.find(key); found != slices_.end()) return found->second.get();
  if (slices_.size() >= kMaxSlices) return nullptr;
  std::vector<uint64_t> within(mask_words());
  std::vector<std::pair<std::string_view, int32_t>> others;
  for (const grammar::TokenTrie::Node& node : trie_->nodes()) {
    if (node.token < 0) continue;
    const std::string_view text = bytes(node.token);
    if (all_within(set, text, max_chars)) {
      within[static_cast<size_t>(node.token) / 64] |= uint64_t{1} << (node.token % 64);
    } else {
      others.emplace_back(text, node.token);
    }
  }
  auto made = std::make_unique<Slice>(Slice{std::move(within), grammar::TokenTrie(others)});
  return slices_.emplace(key, std::move(made)).first->second.get();
}

}  // namespace flashmoe::text
