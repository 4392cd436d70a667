#include "base/log.h"

#include <unistd.h>

#include <atomic>
#include <mutex>

#include "base/format_units.h"

namespace flashmoe {
namespace {

constexpr char kClearLine[] = "\r\x1b[K";
constexpr auto kTerminalPeriod = std::chrono::milliseconds(100);
constexpr auto kFilePeriod = std::chrono::seconds(10);

std::atomic<LogLevel> g_level{LogLevel::kInfo};
std::mutex g_mutex;               // guards stderr's last line
bool g_progress_on_line = false;  // a progress line stands there

std::string duration_text(double seconds) {
  if (seconds < 100) return fmt::format("{:.0f} s", seconds);
  if (seconds < 100 * 60) return fmt::format("{:.0f} min", seconds / 60);
  return fmt::format("{:.1f} h", seconds / 3600);
}

}  // namespace

void set_log_level(LogLevel level) { g_level.store(level, std::memory_order_relaxed); }
LogLevel log_level() { return g_level.load(std::memory_order_relaxed); }

void log_line(LogLevel level, std::string_view message) {
  if (level > log_level()) return;
  const char* prefix = level == LogLevel::kWarn ? "warning: " : "";
  const std::scoped_lock lock(g_mutex);
  const std::string line =
      fmt::format("{}{}{}\n", g_progress_on_line ? kClearLine : "", prefix, message);
  g_progress_on_line = false;
  std::fwrite(line.data(), 1, line.size(), stderr);
}

std::string progress_text(std::string_view what, uint64_t done, uint64_t total, double elapsed_s,
                          std::string_view unit) {
  const bool bytes = unit == "bytes";
  const auto amount = [&](uint64_t n) { return bytes ? format_bytes(n) : fmt::format("{}", n); };
  std::string text = fmt::format("{}: {} of {}", what, amount(done), amount(total));
  if (!bytes) text += fmt::format(" {}", unit);
  if (elapsed_s <= 0 || done == 0) return text;
  const double rate = static_cast<double>(done) / elapsed_s;
  text += bytes ? fmt::format(", {}/s", format_bytes(static_cast<uint64_t>(rate)))
                : fmt::format(", {:.3g}/s", rate);
  if (done < total) {
    text += fmt::format(", {} left", duration_text(static_cast<double>(total - done) / rate));
  }
  return text;
}

Progress::Progress(std::string what, uint64_t total_bytes, std::FILE* out, Clock::time_point start)
    : what_(std::move(what)),
      total_(total_bytes),
      out_(out),
      terminal_(isatty(fileno(out)) == 1),
      start_(start),
      shown_(start) {}

Progress::Progress(std::string what, uint64_t total, std::string unit)
    : Progress(std::move(what), total) {
  unit_ = std::move(unit);
}

Progress::~Progress() {
  const std::scoped_lock lock(g_mutex);
  if (!g_progress_on_line) return;
  g_progress_on_line = false;
  std::fputs(kClearLine, out_);
  std::fflush(out_);
}

void Progress::update(uint64_t done, Clock::time_point now) {
  if (now - shown_ < (terminal_ ? Clock::duration(kTerminalPeriod) : kFilePeriod)) return;
  if (log_level() < LogLevel::kInfo) return;
  shown_ = now;
  const double elapsed_s = std::chrono::duration<double>(now - start_).count();
  const std::string text = progress_text(what_, done, total_, elapsed_s, unit_);
  const std::scoped_lock lock(g_mutex);
  const std::string line = terminal_ ? kClearLine + text : text + "\n";
  std::fwrite(line.data(), 1, line.size(), out_);
  std::fflush(out_);
  g_progress_on_line = terminal_;
}

}  // namespace flashmoe
