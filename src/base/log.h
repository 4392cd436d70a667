// What the program says about itself, on stderr: messages by level and one line of progress for
// long work. Owns the level (the only global state of the program) and the terminal's last line;
// results go to stdout elsewhere.
#pragma once

#include <fmt/format.h>

#include <chrono>
#include <cstdint>
#include <cstdio>
#include <string>
#include <string_view>
#include <utility>

namespace flashmoe {

enum class LogLevel { kQuiet, kWarn, kInfo, kDebug };

void set_log_level(LogLevel level);
LogLevel log_level();

// Writes a whole line, from any thread, if `level` is on.
void log_line(LogLevel level, std::string_view message);

template <typename... Args>
void log_warn(fmt::format_string<Args...> format, Args&&... args) {
  if (log_level() < LogLevel::kWarn) return;
  log_line(LogLevel::kWarn, fmt::format(format, std::forward<Args>(args)...));
}
template <typename... Args>
void log_info(fmt::format_string<Args...> format, Args&&... args) {
  if (log_level() < LogLevel::kInfo) return;
  log_line(LogLevel::kInfo, fmt::format(format, std::forward<Args>(args)...));
}
template <typename... Args>
void log_debug(fmt::format_string<Args...> format, Args&&... args) {
  if (log_level() < LogLevel::kDebug) return;
  log_line(LogLevel::kDebug, fmt::format(format, std::forward<Args>(args)...));
}

// "loading: 1.5 GiB of 3 GiB, 1.2 GiB/s, 2 s left"; with a unit other than bytes, "reading: 120 of
// 400 tokens, 30/s, 9 s left".
std::string progress_text(std::string_view what, uint64_t done, uint64_t total, double elapsed_s,
                          std::string_view unit = "bytes");

// Shows how far long work has come: on a terminal a line that is rewritten at most 10 times a
// second and gone at the end, elsewhere a line every 10 seconds; nothing below kInfo. One thread
// uses it, and there is one at a time.
class Progress {
 public:
  using Clock = std::chrono::steady_clock;

  Progress(std::string what, uint64_t total_bytes, std::FILE* out = stderr,
           Clock::time_point start = Clock::now());
  Progress(std::string what, uint64_t total, std::string unit);
  ~Progress();
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  void update(uint64_t done, Clock::time_point now = Clock::now());

 private:
  std::string what_;
  std::string unit_ = "bytes";
  uint64_t total_;
  std::FILE* out_;
  bool terminal_;
  Clock::time_point start_;
  Clock::time_point shown_;
};

}  // namespace flashmoe
