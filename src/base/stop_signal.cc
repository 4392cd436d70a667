#include "base/stop_signal.h"

#include <atomic>
#include <csignal>
#include <initializer_list>

namespace flashmoe {
namespace {

std::atomic<bool> g_stop_requested{false};
static_assert(std::atomic<bool>::is_always_lock_free);

void handle_stop(int) {
  g_stop_requested.store(true, std::memory_order_relaxed);
  // Only async-signal-safe calls here.
  for (const int signal : {SIGINT, SIGTERM}) std::signal(signal, SIG_DFL);
}

}  // namespace

void install_stop_signal() {
  for (const int signal : {SIGINT, SIGTERM}) {
    struct sigaction old = {};
    sigaction(signal, nullptr, &old);
    if (old.sa_handler == SIG_IGN) continue;
    struct sigaction action = {};
    action.sa_handler = handle_stop;
    action.sa_flags = SA_RESTART;
    sigemptyset(&action.sa_mask);
    sigaction(signal, &action, nullptr);
  }
}

bool stop_requested() noexcept { return g_stop_requested.load(std::memory_order_relaxed); }

}  // namespace flashmoe
