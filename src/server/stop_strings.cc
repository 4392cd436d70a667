#include "server/stop_strings.h"

#include <algorithm>
#include <utility>

#include "text/partial_match.h"

namespace flashmoe::server {

std::string StopStrings::push(std::string_view text) {
  if (found_) return "";
  pending_ += text;
  size_t first = std::string::npos;
  for (const std::string& stop : stops_) {
    const size_t at = pending_.find(stop);
    if (at < first) {
      first = at;
      which_ = stop;
    }
  }
  if (first != std::string::npos) {
    found_ = true;
    return pending_.substr(0, first);
  }
  size_t held_back = 0;
  for (const std::string& stop : stops_) {
    held_back = std::max(held_back, text::partial_match(pending_, stop));
  }
  std::string out = pending_.substr(0, pending_.size() - held_back);
  pending_.erase(0, out.size());
  return out;
}

std::string StopStrings::finish() { return found_ ? "" : std::exchange(pending_, {}); }

}  // namespace flashmoe::server
