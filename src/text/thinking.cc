#include "text/thinking.h"

#include <charconv>

#include "base/error.h"

namespace flashmoe::text {

namespace {

constexpr int64_t kMostTokens = 1'000'000'000;

}  // namespace

Thinking parse_thinking(std::string_view words, std::string_view name) {
  if (words == "on") return {true, -1};
  if (words == "off") return {false, 0};
  int64_t budget = -1;
  const char* end = words.data() + words.size();
  const auto [rest, error] = std::from_chars(words.data(), end, budget);
  if (error != std::errc() || rest != end || budget < 0 || budget > kMostTokens) {
    throw_error(ErrorCode::kUsage, "{} is on, off or a number of tokens up to {}, not '{}'", name,
                kMostTokens, words);
  }
  return {budget > 0, budget};
}

}  // namespace flashmoe::text
