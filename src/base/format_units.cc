#include "base/format_units.h"

#include <array>
#include <cctype>
#include <cmath>

#include "base/error.h"

namespace flashmoe {
namespace {

[[noreturn]] void bad_size(std::string_view text, const char* why) {
  throw_error(ErrorCode::kUsage, "'{}' is not a size: {}; write for example 16GiB, 1.5G or 512M",
              text, why);
}

// The power of two that a unit stands for, or -1.
int unit_shift(std::string_view unit) {
  if (unit.empty()) return 0;
  constexpr std::string_view kPrefixes = "kmgt";
  const auto lower = [&](size_t i) {
    return static_cast<char>(std::tolower(static_cast<unsigned char>(unit[i])));
  };
  if (lower(0) == 'b') return unit.size() == 1 ? 0 : -1;
  const size_t prefix = kPrefixes.find(lower(0));
  if (prefix == std::string_view::npos) return -1;
  const bool plain = unit.size() == 1;
  const bool b = unit.size() == 2 && lower(1) == 'b';
  const bool ib = unit.size() == 3 && lower(1) == 'i' && lower(2) == 'b';
  return plain || b || ib ? 10 * (static_cast<int>(prefix) + 1) : -1;
}

}  // namespace

uint64_t parse_size(std::string_view text) {
  const size_t digits = text.find_first_not_of("0123456789.");
  const std::string_view number = text.substr(0, digits);
  std::string_view unit = digits == std::string_view::npos ? "" : text.substr(digits);
  if (number.empty()) bad_size(text, "it does not begin with a number");
  if (unit.starts_with(' ')) unit.remove_prefix(1);
  const int shift = unit_shift(unit);
  if (shift < 0) bad_size(text, "the unit is not one of K, M, G, T");

  // Digit by digit, because the number must not depend on the locale; a double holds any size that
  // a machine can have to the byte.
  double value = 0;
  double place = 0;  // 0 until the point
  for (const char c : number) {
    if (c == '.') {
      if (place != 0) bad_size(text, "it has two decimal points");
      place = 1;
    } else if (place == 0) {
      value = value * 10 + (c - '0');
    } else {
      place /= 10;
      value += (c - '0') * place;
    }
  }
  if (number == ".") bad_size(text, "it does not begin with a number");
  const double bytes = std::ldexp(value, shift);
  if (!(bytes < 0x1p62)) bad_size(text, "it is too large");
  return static_cast<uint64_t>(bytes);
}

std::string format_bytes(uint64_t bytes) {
  if (bytes < 1024) return fmt::format("{} byte{}", bytes, bytes == 1 ? "" : "s");
  constexpr std::array kUnits = {"KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
  double value = static_cast<double>(bytes) / 1024;
  size_t unit = 0;
  while (value >= 1023.5 && unit + 1 < kUnits.size()) {
    value /= 1024;
    ++unit;
  }
  const int decimals = value < 9.995 ? 2 : value < 99.95 ? 1 : 0;
  std::string number = fmt::format("{:.{}f}", value, decimals);
  if (decimals > 0) {  // "1.50" reads as "1.5", "2.00" as "2"
    number.erase(number.find_last_not_of('0') + 1);
    if (number.back() == '.') number.pop_back();
  }
  return number + " " + kUnits[unit];
}

}  // namespace flashmoe
