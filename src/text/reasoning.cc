#include "text/reasoning.h"

#include <algorithm>
#include <utility>

#include "text/partial_match.h"

namespace flashmoe::text {

bool ends_in_reasoning(std::string_view prompt) {
  const size_t open = prompt.rfind(kThinkOpen);
  if (open == std::string_view::npos) return false;
  // Only what the template adds may follow; a message that speaks of <think> does not count.
  return prompt.find_first_not_of(" \n", open + kThinkOpen.size()) == std::string_view::npos;
}

void ReasoningSplitter::step(std::vector<Piece>* pieces, bool is_last) {
  const auto emit = [&](bool is_reasoning, size_t bytes) {
    if (bytes > 0) pieces->push_back({is_reasoning, pending_.substr(0, bytes)});
    pending_.erase(0, bytes);
  };
  if (state_ == kBeginning) {
    const size_t text = std::min(pending_.find_first_not_of(" \n"), pending_.size());
    const std::string_view rest = std::string_view(pending_).substr(text);
    if (rest.starts_with(kThinkOpen)) {
      pending_.erase(0, text + kThinkOpen.size());
      state_ = kReasoning;
    } else if (is_last || !kThinkOpen.starts_with(rest)) {
      state_ = kAnswer;
    } else {
      return;
    }
  }
  if (state_ == kReasoning) {
    if (!began_) {
      pending_.erase(0, std::min(pending_.find_first_not_of('\n'), pending_.size()));
      began_ = !pending_.empty();
    }
    const size_t close = pending_.find(kThinkClose);
    const bool closed = close != std::string::npos;
    size_t end = closed ? close : pending_.size();
    if (!closed && !is_last) end -= partial_match(pending_, kThinkClose);
    const size_t tag = end;
    if (closed || !is_last) {
      while (end > 0 && pending_[end - 1] == '\n') --end;
    }
    if (!closed) return emit(true, end);
    pending_.erase(end, tag + kThinkClose.size() - end);
    emit(true, end);
    state_ = kAfter;
  }
  if (state_ == kAfter) {
    pending_.erase(0, std::min(pending_.find_first_not_of('\n'), pending_.size()));
    if (pending_.empty()) return;
    state_ = kAnswer;
  }
  emit(false, pending_.size());
}

std::vector<ReasoningSplitter::Piece> ReasoningSplitter::push(std::string_view text) {
  std::vector<Piece> pieces;
  pending_ += text;
  step(&pieces, false);
  return pieces;
}

std::vector<ReasoningSplitter::Piece> ReasoningSplitter::finish() {
  std::vector<Piece> pieces;
  step(&pieces, true);
  return pieces;
}

}  // namespace flashmoe::text
