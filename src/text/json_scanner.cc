#include "text/json_scanner.h"

namespace flashmoe::text {

namespace {

constexpr size_t kMaxDepth = 512;

bool is_digit(char c) { return c >= '0' && c <= '9'; }

bool is_hex(char c) { return is_digit(c) || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F'); }

bool is_space(char c) { return c == ' ' || c == '\t' || c == '\n' || c == '\r'; }

}  // namespace

JsonScanner::Status JsonScanner::begin_value(char c) {
  const auto word = [&](const char* rest) {
    word_ = rest;
    state_ = kWord;
    return kMore;
  };
  // A number or word alone has no end of its own.
  if (open_.empty() && c != '{' && c != '[' && c != '"') return kInvalid;
  switch (c) {
    case '{':
    case '[':
      if (open_.size() == kMaxDepth) return kInvalid;
      open_ += c;
      state_ = c == '{' ? kFirstKey : kFirstItem;
      return kMore;
    case '"':
      in_key_ = false;
      state_ = kString;
      return kMore;
    case 't':
      return word("rue");
    case 'f':
      return word("alse");
    case 'n':
      return word("ull");
    case '-':
      state_ = kMinus;
      return kMore;
    default:
      if (!is_digit(c)) return kInvalid;
      state_ = c == '0' ? kZero : kDigits;
      return kMore;
  }
}

JsonScanner::Status JsonScanner::end_value() {
  state_ = kAfterValue;
  return open_.empty() ? kDone : kMore;
}

JsonScanner::Status JsonScanner::close(char open) {
  if (open_.empty() || open_.back() != open) return kInvalid;
  open_.pop_back();
  return end_value();
}

JsonScanner::Status JsonScanner::end_number(char c) {
  state_ = kAfterValue;
  return push(c);
}

JsonScanner::Status JsonScanner::push(char c) {
  const auto go = [&](State next) {
    state_ = next;
    return kMore;
  };
  switch (state_) {
    case kValue:
      return is_space(c) ? kMore : begin_value(c);
    case kFirstItem:
      if (is_space(c)) return kMore;
      return c == ']' ? close('[') : begin_value(c);
    case kFirstKey:
      if (c == '}') return close('{');
      [[fallthrough]];
    case kKey:
      if (is_space(c)) return kMore;
      if (c != '"') return kInvalid;
      in_key_ = true;
      return go(kString);
    case kColon:
      if (is_space(c)) return kMore;
      return c == ':' ? go(kValue) : kInvalid;
    case kAfterValue:
      if (is_space(c)) return kMore;
      if (c == ',') return go(open_.back() == '{' ? kKey : kValue);
      if (c == '}') return close('{');
      return c == ']' ? close('[') : kInvalid;
    case kString:
      if (static_cast<unsigned char>(c) < 0x20) return kInvalid;
      if (c == '\\') return go(kEscape);
      if (c != '"') return kMore;
      return in_key_ ? go(kColon) : end_value();
    case kEscape:
      if (c == 'u') {
        hex_digits_ = 4;
        return go(kHex);
      }
      for (const char known : {'"', '\\', '/', 'b', 'f', 'n', 'r', 't'}) {
        if (c == known) return go(kString);
      }
      return kInvalid;
    case kHex:
      if (!is_hex(c)) return kInvalid;
      return --hex_digits_ == 0 ? go(kString) : kMore;
    case kWord:
      if (c != *word_) return kInvalid;
      return *++word_ == '\0' ? end_value() : kMore;
    case kMinus:
      if (!is_digit(c)) return kInvalid;
      return go(c == '0' ? kZero : kDigits);
    case kDigits:
      if (is_digit(c)) return kMore;
      [[fallthrough]];
    case kZero:
      if (c == '.') return go(kPoint);
      return c == 'e' || c == 'E' ? go(kExponent) : end_number(c);
    case kPoint:
      return is_digit(c) ? go(kFraction) : kInvalid;
    case kFraction:
      if (is_digit(c)) return kMore;
      return c == 'e' || c == 'E' ? go(kExponent) : end_number(c);
    case kExponent:
      if (c == '+' || c == '-') return go(kExponentSign);
      [[fallthrough]];
    case kExponentSign:
      return is_digit(c) ? go(kExponentDigits) : kInvalid;
    case kExponentDigits:
      return is_digit(c) ? kMore : end_number(c);
  }
  return kInvalid;
}

}  // namespace flashmoe::text
