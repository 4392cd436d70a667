// Follows one JSON value byte by byte, to tell where it ends. Owns no values.
#pragma once

#include <string>

namespace flashmoe::text {

class JsonScanner {
 public:
  enum Status { kMore, kDone, kInvalid };

  // Takes the next byte. kDone: the value, which must be an object, array or string, ends with it.
  // Nothing may be pushed after kDone or kInvalid. Bytes past ASCII count as text of a string.
  Status push(char c);

 private:
  enum State {
    kValue,       // a value comes
    kFirstItem,   // a value or ']' comes
    kFirstKey,    // a key or '}' comes
    kKey,         // a key comes
    kColon,       // ':' comes
    kAfterValue,  // ',' or the closing bracket comes
    kString,      // in a string
    kEscape,      // after a backslash
    kHex,         // in \uXXXX
    kWord,        // in true, false, null
    kMinus,
    kZero,
    kDigits,
    kPoint,
    kFraction,
    kExponent,
    kExponentSign,
    kExponentDigits,
  };
  Status begin_value(char c);
  Status end_value();
  Status close(char open);
  Status end_number(char c);

  State state_ = kValue;
  std::string open_;            // brackets, outermost first
  bool in_key_ = false;         // the string is a key
  int hex_digits_ = 0;          // still to come
  const char* word_ = nullptr;  // the rest of it
};

}  // namespace flashmoe::text
