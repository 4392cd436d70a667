#include "text/schema/numbers.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <utility>
#include <vector>

namespace flashmoe::text::schema {

namespace {

using Expr = Grammar::Expr;

constexpr int kExactDigits = 15;                       // of decimals that survive as doubles
constexpr int kMaxFraction = 10;                       // digits after the point
constexpr int64_t kUsual = 999'999'999'999'999;        // 15 digits
constexpr int64_t kLargest = 999'999'999'999'999'999;  // 18 digits

// A decimal without its sign: digits before and after the point.
struct Decimal {
  bool negative = false;
  std::string whole;     // "0" or without leading zeros
  std::string fraction;  // without trailing zeros

  bool is_zero() const { return whole == "0" && fraction.empty(); }
};

Decimal decimal_of(const nlohmann::ordered_json& value) {
  const std::string shortest = value.dump();  // that reads back as the same double
  Decimal d;
  std::string digits;
  int64_t exponent = 0, after_point = 0;
  bool in_fraction = false;
  for (size_t i = 0; i < shortest.size(); ++i) {
    const char c = shortest[i];
    if (c == '-') d.negative = true;
    if (c == '.') in_fraction = true;
    if (c >= '0' && c <= '9') {
      digits += c;
      if (in_fraction) ++after_point;
    }
    if (c == 'e' || c == 'E') {
      exponent = std::stoll(shortest.substr(i + 1));
      break;
    }
  }
  int64_t point = static_cast<int64_t>(digits.size()) - after_point + exponent;
  if (point < 0) {
    digits = std::string(static_cast<size_t>(-point), '0').append(digits);
    point = 0;
  }
  if (point > static_cast<int64_t>(digits.size())) {
    digits.append(static_cast<size_t>(point) - digits.size(), '0');
  }
  d.whole = digits.substr(0, static_cast<size_t>(point));
  d.fraction = digits.substr(static_cast<size_t>(point));
  d.whole.erase(0, std::min(d.whole.find_first_not_of('0'), d.whole.size()));
  if (d.whole.empty()) d.whole.push_back('0');
  while (d.fraction.ends_with('0')) d.fraction.pop_back();
  return d;
}

// The whole part, cut off at kLargest + 1.
int64_t whole_of(const Decimal& d) {
  return d.whole.size() > 18 ? kLargest + 1 : std::stoll(d.whole);
}

int digits_of(int64_t value) { return static_cast<int>(std::to_string(value).size()); }

int64_t power_of_ten(int exponent) {
  int64_t power = 1;
  for (int i = 0; i < exponent; ++i) power *= 10;
  return power;
}

class NumberBuilder {
 public:
  explicit NumberBuilder(Grammar* grammar, int64_t multiple = 1)
      : g_(*grammar), multiple_(multiple) {}

  Expr nothing() { return g_.choice({}); }

  // Digits of the multiples in low to high, both of `length` digits.
  Expr same_length(int64_t low, int64_t high) {
    low_ = std::to_string(low);
    high_ = std::to_string(high);
    return whole_digits(0, true, true, 0);
  }

  // 0 <= low.
  std::vector<std::pair<int, Expr>> whole_by_length(int64_t low, int64_t high) {
    std::vector<std::pair<int, Expr>> lengths;
    for (int digits = 1; digits <= 18; ++digits) {
      const int64_t from = std::max(low, digits == 1 ? 0 : power_of_ten(digits - 1));
      const int64_t to = std::min(high, power_of_ten(digits) - 1);
      if (from <= to) lengths.emplace_back(digits, same_length(from, to));
    }
    return lengths;
  }

  Expr whole(int64_t low, int64_t high) {
    std::vector<Expr> ways;
    for (const auto& [digits, expr] : whole_by_length(low, high)) ways.push_back(expr);
    return g_.choice(std::move(ways));
  }

  struct Limit {
    Decimal value;
    bool exclusive = false;
  };
  // Numbers without sign.
  Expr magnitude(const Limit& low, const Limit& high) {
    const int64_t from = whole_of(low.value), to = std::min(whole_of(high.value), kUsual + 1);
    std::vector<Expr> ways;
    if (from == to) {
      ways.push_back(
          g_.sequence({g_.literal(std::to_string(from)), fraction(&low, &high, digits_of(from))}));
      return ways[0];
    }
    if (from > to) return nothing();
    ways.push_back(
        g_.sequence({g_.literal(std::to_string(from)), fraction(&low, nullptr, digits_of(from))}));
    for (const auto& [digits, expr] : whole_by_length(from + 1, to - 1)) {
      ways.push_back(g_.sequence({expr, fraction(nullptr, nullptr, digits)}));
    }
    if (to <= kUsual) {
      ways.push_back(
          g_.sequence({g_.literal(std::to_string(to)), fraction(nullptr, &high, digits_of(to))}));
    }
    return g_.choice(std::move(ways));
  }

 private:
  Expr digit(int first, int last) {
    return g_.one_of({{static_cast<char32_t>('0' + first), static_cast<char32_t>('0' + last)}});
  }

  // The digits from `at` on, where those before are low_'s (on_low), high_'s (on_high) or between,
  // and leave `rest` when divided.
  Expr whole_digits(size_t at, bool on_low, bool on_high, int64_t rest) {
    const size_t left = low_.size() - at;
    if (left == 0) return rest == 0 ? g_.literal("") : nothing();
    if (!on_low && !on_high) return free_digits(static_cast<int>(left), rest);
    const int first = on_low ? low_[at] - '0' : 0, last = on_high ? high_[at] - '0' : 9;
    std::vector<Expr> ways;
    for (int d = first; d <= last;) {
      const bool low = on_low && d == first, high = on_high && d == last;
      // Digits that are at neither limit lead to the same.
      int end = d;
      while (multiple_ == 1 && !low && !high && end < last && !(on_high && end + 1 == last)) ++end;
      ways.push_back(g_.sequence(
          {digit(d, end), whole_digits(at + 1, low, high, (rest * 10 + d) % multiple_)}));
      d = end + 1;
    }
    return g_.choice(std::move(ways));
  }

  Expr free_digits(int left, int64_t rest) {
    if (multiple_ == 1) return g_.repeat(digit(0, 9), left, left);
    if (left == 0) return rest == 0 ? g_.literal("") : nothing();
    const auto [found, added] = free_.try_emplace({left, rest}, -1);
    if (!added) return g_.call(found->second);
    const Grammar::Rule rule = g_.add_rule(fmt::format("digits-{}-{}", left, rest));
    found->second = rule;
    std::vector<Expr> ways;
    for (int d = 0; d <= 9; ++d) {
      ways.push_back(
          g_.sequence({digit(d, d), free_digits(left - 1, (rest * 10 + d) % multiple_)}));
    }
    g_.define(rule, g_.choice(std::move(ways)));
    return g_.call(rule);
  }

  // What may follow a whole part of `whole_digits` digits that equals those of the limits given.
  Expr fraction(const Limit* low, const Limit* high, int whole_digits) {
    const int most = std::min(kMaxFraction, kExactDigits - whole_digits);
    std::vector<Expr> ways;
    if (may_end(low, high, 0)) ways.push_back(g_.literal(""));
    if (most > 0) {
      ways.push_back(g_.sequence({g_.literal("."), fraction_digits(low, high, 0, most)}));
    }
    return g_.choice(std::move(ways));
  }

  // Whether a fraction whose first `at` digits are those of the limits may end there.
  static bool may_end(const Limit* low, const Limit* high, size_t at) {
    if (low != nullptr && (low->exclusive || low->value.fraction.size() > at)) {
      return false;
    }
    return high == nullptr || !high->exclusive || high->value.fraction.size() > at;
  }

  Expr fraction_digits(const Limit* low, const Limit* high, size_t at, int most) {
    const auto digit_of = [&](const Limit* limit) {
      const std::string& digits = limit->value.fraction;
      return at < digits.size() ? digits[at] - '0' : 0;
    };
    const int first = low != nullptr ? digit_of(low) : 0;
    const int last = high != nullptr ? digit_of(high) : 9;
    std::vector<Expr> ways;
    for (int d = first; d <= last;) {
      const Limit* next_low = d == first ? low : nullptr;
      const Limit* next_high = d == last ? high : nullptr;
      const bool is_free = next_low == nullptr && next_high == nullptr;
      int end = d;
      while (is_free && end < last && !(high != nullptr && end + 1 == last)) ++end;
      ways.push_back(
          g_.sequence({digit(d, end), fraction_rest(next_low, next_high, at + 1, most - 1)}));
      d = end + 1;
    }
    return g_.choice(std::move(ways));
  }

  Expr fraction_rest(const Limit* low, const Limit* high, size_t at, int most) {
    if (low == nullptr && high == nullptr) return g_.repeat(digit(0, 9), 0, most);
    std::vector<Expr> ways;
    if (may_end(low, high, at)) ways.push_back(g_.literal(""));
    if (most > 0) ways.push_back(fraction_digits(low, high, at, most));
    return g_.choice(std::move(ways));
  }

  Grammar& g_;
  int64_t multiple_;
  std::string low_, high_;
  std::map<std::pair<int, int64_t>, Grammar::Rule> free_;  // by digits left and rest
};

// Rounded towards the inside of the limits; nothing if it is past what is written.
int64_t integer_limit(const NumberLimits::Limit& limit, bool is_min) {
  const Decimal d = decimal_of(limit.value);
  int64_t value = whole_of(d);
  const bool is_whole = d.fraction.empty();
  if (d.negative) value = -value;
  if (is_whole) {
    if (limit.exclusive) value += is_min ? 1 : -1;
  } else if (is_min && !d.negative) {
    ++value;
  } else if (!is_min && d.negative) {
    --value;
  }
  return value;
}

}  // namespace

Expr integer_expr(const NumberLimits& limits, Grammar* grammar) {
  int64_t low = limits.min ? integer_limit(*limits.min, true) : -kUsual;
  int64_t high = limits.max ? integer_limit(*limits.max, false) : kUsual;
  if (!limits.max && low > kUsual) high = kLargest;
  if (!limits.min && high < -kUsual) low = -kLargest;
  low = std::max(low, -kLargest);
  high = std::min(high, kLargest);
  NumberBuilder builder(grammar, limits.multiple_of);
  std::vector<Expr> ways;
  if (high >= 0) ways.push_back(builder.whole(std::max<int64_t>(low, 0), high));
  if (low < 0) {
    ways.push_back(grammar->sequence(
        {grammar->literal("-"), builder.whole(std::max<int64_t>(-high, 1), -low)}));
  }
  return grammar->choice(std::move(ways));
}

Expr number_expr(const NumberLimits& limits, Grammar* grammar) {
  const auto digits = [&](int64_t min, int64_t max) {
    return grammar->repeat(grammar->one_of({{'0', '9'}}), min, max);
  };
  if (!limits.min && !limits.max) {
    const auto whole = grammar->choice(
        {grammar->literal("0"),
         grammar->sequence({grammar->one_of({{'1', '9'}}), digits(0, kExactDigits - 1)})});
    const auto fraction = grammar->sequence({grammar->literal("."), digits(1, kExactDigits)});
    const auto exponent = grammar->sequence(
        {grammar->one_of({{'E', 'E'}, {'e', 'e'}}),
         grammar->optional(grammar->one_of({{'+', '+'}, {'-', '-'}})), digits(1, 2)});
    return grammar->sequence({grammar->optional(grammar->literal("-")), whole,
                              grammar->optional(fraction), grammar->optional(exponent)});
  }
  NumberBuilder builder(grammar);
  using Limit = NumberBuilder::Limit;
  const Limit zero{{false, "0", ""}, false}, above_zero{{false, "0", ""}, true};
  const Limit huge{{false, std::to_string(kUsual + 1), ""}, true};
  const auto limit = [](const NumberLimits::Limit& given) {
    return Limit{decimal_of(given.value), given.exclusive};
  };
  const Limit low = limits.min ? limit(*limits.min) : Limit{{true, huge.value.whole, ""}, true};
  const Limit high = limits.max ? limit(*limits.max) : huge;
  std::vector<Expr> ways;
  // From zero up, and below zero down.
  if (!high.value.negative || high.value.is_zero()) {
    const bool from_zero = low.value.negative && !low.value.is_zero();
    ways.push_back(builder.magnitude(from_zero ? zero : low, high));
  }
  if (low.value.negative && !low.value.is_zero()) {
    const bool to_zero = !high.value.negative;
    ways.push_back(grammar->sequence(
        {grammar->literal("-"), builder.magnitude(to_zero ? above_zero : high, low)}));
  }
  return grammar->choice(std::move(ways));
}

}  // namespace flashmoe::text::schema
