#include "base/stop_signal.h"

#include <atomic>
#include <csignal>
#include <initializer_list>

namespace flashmoe {
namespace {

std::atomic<bool> g_stop_requested{false}, g_pipe_closed{false};
static_assert(std::atomic<bool>::is_always_lock_free);

void handle_stop(int) {
  g_stop_requested.store(true, std::memory_order_relaxed);
  // Only async-signal-safe calls here.
  for (const int signal : {SIGINT, SIGTERM}) std::signal(signal, SIG_DFL);
}

// Writes then fail, unnoticed, until the work looks at the flag.
void handle_closed_pipe(int) {
  g_stop_requested.store(true, std::memory_order_relaxed);
  g_pipe_closed.store(true, std::memory_order_relaxed);
}

}  // namespace

void install_stop_signal() {
  for (const int signal : {SIGINT, SIGTERM, SIGPIPE}) {
    struct sigaction old = {};
    sigaction(signal, nullptr, &old);
    if (old.sa_handler == SIG_IGN) continue;
    struct sigaction action = {};
    action.sa_handler = signal == SIGPIPE ? handle_closed_pipe : handle_stop;
    action.sa_flags = SA_RESTART;
    sigemptyset(&action.sa_mask);
    sigaction(signal, &action, nullptr);
  }
}

bool stop_requested() noexcept { return g_stop_requested.load(std::memory_order_relaxed); }

void end_after_closed_pipe() {
  if (!g_pipe_closed.load(std::memory_order_relaxed)) return;
  std::signal(SIGPIPE, SIG_DFL);
  std::raise(SIGPIPE);
}

}  // namespace flashmoe
