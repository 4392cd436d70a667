#include "text/pre_tokenizer.h"

#include <algorithm>

#include "base/check.h"
#include "text/bpe_alphabet.h"
#include "text/utf8_properties.h"

namespace flashmoe::text {
namespace {

constexpr char kGpt2Pattern[] =
    R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";

}  // namespace

PreTokenizer::PreTokenizer(const std::vector<PreTokenizerStep>& steps, const std::string& name) {
  for (size_t i = 0; i < steps.size(); ++i) {
    const PreTokenizerStep& spec = steps[i];
    if (spec.kind == PreTokenizerStep::kSplit) {
      steps_.push_back({Step::kSplit, Pattern(spec.pattern, name), spec.behavior, spec.invert});
      continue;
    }
    CHECK(!maps_bytes_);
    if (spec.add_prefix_space) steps_.push_back({Step::kPrefixSpace, {}});
    if (spec.use_regex) steps_.push_back({Step::kSplit, Pattern({kGpt2Pattern, true}, name)});
    // Only later steps can tell the spelling of bytes from the bytes.
    if (i + 1 < steps.size()) {
      steps_.push_back({Step::kMapBytes, {}});
      maps_bytes_ = true;
    }
  }
}

PreTokenizer::Scratch::Scratch(const PreTokenizer& owner) {
  steps_.reserve(owner.steps_.size());
  for (const Step& step : owner.steps_) {
    steps_.push_back({PatternMatcher(step.pattern, {}), {}, {}, {}});
  }
}

void PreTokenizer::run(std::string_view valid_utf8, Scratch* scratch, PieceSink* sink) const {
  if (valid_utf8.empty()) return;
  const bool replaced = replace_by_stand_ins(valid_utf8, &scratch->shadow_);
  apply(0, {valid_utf8, replaced ? std::string_view(scratch->shadow_) : valid_utf8}, scratch, sink);
}

void PreTokenizer::apply(size_t step, Piece piece, Scratch* scratch, PieceSink* sink) const {
  if (step == steps_.size()) {
    if (maps_bytes_) {
      scratch->bytes_.clear();
      CHECK(from_byte_level(piece.text, &scratch->bytes_));
      piece.text = scratch->bytes_;
    }
    sink->piece(piece.text);
    return;
  }
  Scratch::PerStep& own = scratch->steps_[step];
  switch (steps_[step].kind) {
    case Step::kSplit:
      return split(step, piece, scratch, sink);
    case Step::kPrefixSpace:
      if (piece.text.front() == ' ') return apply(step + 1, piece, scratch, sink);
      own.text.assign(1, ' ').append(piece.text);
      own.shadow.assign(1, ' ').append(piece.shadow);
      return apply(step + 1, {own.text, own.shadow}, scratch, sink);
    case Step::kMapBytes:
      own.text.clear();
      append_byte_level(piece.text, &own.text);
      return apply(step + 1, {own.text, own.text}, scratch, sink);
  }
}

void PreTokenizer::split(size_t step, Piece piece, Scratch* scratch, PieceSink* sink) const {
  const SplitBehavior behavior = steps_[step].behavior;
  if (behavior != SplitBehavior::kIsolated && behavior != SplitBehavior::kRemoved) {
    return split_and_merge(step, piece, scratch, sink);
  }
  const bool removed = behavior == SplitBehavior::kRemoved, invert = steps_[step].invert;
  PatternMatcher& matcher = scratch->steps_[step].matcher;
  matcher.reset(piece.shadow);
  const auto send = [&](size_t begin, size_t end, bool is_match) {
    if (begin == end || (removed && is_match != invert)) return;
    apply(step + 1, piece.part(begin, end), scratch, sink);
  };
  size_t done = 0;
  for (PatternMatcher::Match match; matcher.next(&match);) {
    send(done, match.begin, false);
    send(match.begin, match.end, true);
    done = match.end;
  }
  send(done, piece.text.size(), false);
}

void PreTokenizer::split_and_merge(size_t step, Piece piece, Scratch* scratch,
                                   PieceSink* sink) const {
  const SplitBehavior behavior = steps_[step].behavior;
  const bool invert = steps_[step].invert;
  Scratch::PerStep& own = scratch->steps_[step];
  std::vector<Scratch::Span>& spans = own.spans;
  spans.clear();
  own.matcher.reset(piece.shadow);
  size_t done = 0;
  for (PatternMatcher::Match match; own.matcher.next(&match);) {
    if (done != match.begin) spans.push_back({done, match.begin, invert});
    spans.push_back({match.begin, match.end, !invert});
    done = match.end;
  }
  if (done != piece.text.size()) spans.push_back({done, piece.text.size(), invert});

  // Merging with the next is merging with the previous, seen from the end.
  const bool backwards = behavior == SplitBehavior::kMergedWithNext;
  if (backwards) std::reverse(spans.begin(), spans.end());
  size_t merged = 0;
  bool previous_match = false;
  for (const Scratch::Span span : spans) {
    const bool joins = behavior == SplitBehavior::kContiguous ? span.is_match == previous_match
                                                              : span.is_match && !previous_match;
    previous_match = span.is_match;
    if (!joins || merged == 0) {
      spans[merged++] = span;
    } else {
      Scratch::Span& last = spans[merged - 1];
      (backwards ? last.begin : last.end) = backwards ? span.begin : span.end;
    }
  }
  spans.resize(merged);
  if (backwards) std::reverse(spans.begin(), spans.end());
  for (const Scratch::Span& span : spans) {
    if (span.begin != span.end) apply(step + 1, piece.part(span.begin, span.end), scratch, sink);
  }
}

}  // namespace flashmoe::text
