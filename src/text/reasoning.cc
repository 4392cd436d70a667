#include "text/reasoning.h"

#include <algorithm>
#include <utility>

#include "base/check.h"

namespace flashmoe::text {

std::vector<ReasoningSplitter::Piece> ReasoningSplitter::push(std::string_view text) {
  std::vector<Piece> pieces;
  pending_ += text;
  if ((state_ == kReasoning && !began_) || state_ == kAfter) {
    pending_.erase(0, std::min(pending_.find_first_not_of('\n'), pending_.size()));
  }
  if (pending_.empty()) return pieces;
  if (state_ == kReasoning) {
    began_ = true;
    // The last newlines may be those before the marker.
    const size_t end = pending_.find_last_not_of('\n') + 1;
    if (end > 0) pieces.push_back({true, pending_.substr(0, end)});
    pending_.erase(0, end);
    return pieces;
  }
  // White space may come before the opening marker.
  if (state_ == kBeginning && pending_.find_first_not_of(" \n") == std::string::npos) return pieces;
  state_ = kAnswer;
  pieces.push_back({false, std::exchange(pending_, {})});
  return pieces;
}

void ReasoningSplitter::open() {
  CHECK(may_open());
  pending_.clear();
  state_ = kReasoning;
}

void ReasoningSplitter::close() {
  CHECK(inside());
  pending_.clear();
  state_ = kAfter;
}

std::vector<ReasoningSplitter::Piece> ReasoningSplitter::finish() {
  std::vector<Piece> pieces;
  if (!pending_.empty()) pieces.push_back({inside(), std::exchange(pending_, {})});
  return pieces;
}

}  // namespace flashmoe::text
