// Errors of the world: a file, a disk, memory, a user's input. Thrown as `Error`, caught once per
// request and in main. A programmer's error is a CHECK (base/check.h); an expected outcome is a
// return value.
#pragma once

#include <fmt/format.h>

#include <stdexcept>
#include <string>
#include <utility>

namespace flashmoe {

enum class ErrorCode {
  kUsage,        // the command line or a request is wrong
  kNotFound,     // a file, model or tensor is not there
  kCorrupt,      // data that contradicts its format; the message names file and offset or tensor
  kUnsupported,  // valid, but not something this program can run
  kIo,           // the operating system refused a read or write
  kMemory,       // a budget is too small or used up
  kCancelled,    // the user or client asked to stop
};

class Error : public std::runtime_error {
 public:
  Error(ErrorCode code, std::string message) : std::runtime_error(std::move(message)), code_(code) {}

  ErrorCode code() const { return code_; }
  // The process exit code that this error calls for. A stop before there was a result counts as
  // ended by Ctrl-C, as shells have it: 128 + SIGINT.
  int exit_code() const {
    if (code_ == ErrorCode::kCancelled) return 130;
    return code_ == ErrorCode::kUsage ? 2 : 1;
  }

 private:
  ErrorCode code_;
};

// throw_error(ErrorCode::kIo, "{}: cannot read at {}", path, offset)
template <typename... Args>
[[noreturn]] void throw_error(ErrorCode code, fmt::format_string<Args...> format, Args&&... args) {
  throw Error(code, fmt::format(format, std::forward<Args>(args)...));
}

}  // namespace flashmoe
