// What every part of the template interpreter needs while one template renders: the name and line
// for messages, the clock, and the bounds on work and depth. Owns no values.
//
// One unit of work is about one byte made or one sixteenth of an expression evaluated, so that the
// one bound limits time, memory and output alike.
#pragma once

#include <fmt/format.h>

#include <cstdint>
#include <ctime>
#include <functional>
#include <string>
#include <utility>

#include "base/error.h"

namespace flashmoe::text::jinja {

struct Limits {
  uint64_t work = uint64_t{1} << 30;
  uint32_t depth = 1000;  // of nested statements, expressions and calls
};

// Nesting of lists, dicts and the like, as of everything that is walked or destroyed recursively.
inline constexpr uint32_t kMaxValueDepth = 200;

using Clock = std::function<std::tm()>;  // local time

class Context {
 public:
  Context(std::string name, const Limits& limits, Clock clock)
      : name_(std::move(name)),
        limits_(limits),
        work_left_(limits.work),
        clock_(std::move(clock)) {}

  void charge(uint64_t work) {
    if (work > work_left_) fail("the template makes too much text or runs too long");
    work_left_ -= work;
  }

  // What the conversation caused, raise_exception included, is a kUsage.
  template <typename... Args>
  [[noreturn]] void fail(fmt::format_string<Args...> format, Args&&... args) const {
    throw_error(ErrorCode::kUsage, "{}: line {}: {}", name_, line,
                fmt::format(format, std::forward<Args>(args)...));
  }

  // Holds one level of recursion.
  class Level {
   public:
    explicit Level(Context& context) : context_(context) {
      if (++context.depth_ > context.limits_.depth) {
        --context.depth_;
        context.fail("the template nests too deeply");
      }
    }
    ~Level() { --context_.depth_; }
    Level(const Level&) = delete;
    Level& operator=(const Level&) = delete;

   private:
    Context& context_;
  };

  std::tm now() const { return clock_(); }

  int line = 1;  // of the template, being rendered

 private:
  std::string name_;
  Limits limits_;
  uint64_t work_left_;
  uint32_t depth_ = 0;
  Clock clock_;
};

}  // namespace flashmoe::text::jinja
