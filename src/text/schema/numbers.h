// Numbers within limits, as expressions of a grammar over their decimal digits.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>

#include "text/grammar/grammar.h"

namespace flashmoe::text::schema {

struct NumberLimits {
  struct Limit {
    nlohmann::ordered_json value;  // a number
    bool exclusive = false;
  };
  std::optional<Limit> min, max;
  int64_t multiple_of = 1;  // of integers; at most kMaxMultiple
};

inline constexpr int64_t kMaxMultiple = 1000;

// Integers; of at most 15 digits unless the limits name larger ones, of at most 18.
Grammar::Expr integer_expr(const NumberLimits& limits, Grammar* grammar);
// Numbers, of at most 15 digits when there are limits, so that reading them as doubles keeps their
// order; without limits also with an exponent.
Grammar::Expr number_expr(const NumberLimits& limits, Grammar* grammar);

}  // namespace flashmoe::text::schema
