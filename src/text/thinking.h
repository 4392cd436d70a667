// Whether a model reasons before it answers, and for how long, as users and clients say it. Owns
// the words; what they mean to a template and to the engine is decided there.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

namespace flashmoe::text {

struct Thinking {
  std::optional<bool> enabled;  // absent: as the template has it
  int64_t budget = -1;          // tokens; -1: no limit

  bool operator==(const Thinking&) const = default;
};

// "on", "off", or the most tokens that it may take; 0 is off. `name`: of the option, for the Error
// kUsage that anything else throws.
Thinking parse_thinking(std::string_view words, std::string_view name);

}  // namespace flashmoe::text
