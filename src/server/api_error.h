// What is answered instead of an answer: a status and one sentence. Thrown by whoever reads a
// request and caught once per request; each API has its own form for it. Owns no form.
#pragma once

#include <fmt/format.h>

#include <stdexcept>
#include <string>
#include <utility>

#include "base/error.h"

namespace flashmoe::server {

class ApiError : public std::runtime_error {
 public:
  // `param`: the field that is wrong, as a path ("messages[2].role"). `code`: OpenAI's word for it,
  // where clients look at that. Both may be empty.
  ApiError(int status, std::string message, std::string param = {}, std::string code = {})
      : std::runtime_error(std::move(message)),
        status_(status),
        param_(std::move(param)),
        code_(std::move(code)) {}

  int status() const { return status_; }
  const std::string& param() const { return param_; }
  const std::string& code() const { return code_; }
  // Seconds after which to try again; 0: not said.
  int retry_after_s() const { return status_ == 429 || status_ == 503 ? 1 : 0; }

 private:
  int status_;
  std::string param_, code_;
};

// What an error of the engine is to a client.
ApiError api_error(const Error& error);

template <typename... Args>
[[noreturn]] void refuse(std::string param, fmt::format_string<Args...> format, Args&&... args) {
  throw ApiError(400, fmt::format(format, std::forward<Args>(args)...), std::move(param));
}

}  // namespace flashmoe::server
