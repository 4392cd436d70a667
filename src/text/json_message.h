// What is wrong with a JSON text, as the library says it, without the library's own numbering.
#pragma once

#include <nlohmann/json.hpp>
#include <string>

namespace flashmoe::text {

// "parse error at line 1, column 14: syntax error while parsing object ..."
inline std::string json_message(const nlohmann::detail::exception& error) {
  const std::string message = error.what();  // "[json.exception.parse_error.101] parse error ..."
  const size_t end = message.find("] ");
  return message.starts_with('[') && end != std::string::npos ? message.substr(end + 2) : message;
}

}  // namespace flashmoe::text
