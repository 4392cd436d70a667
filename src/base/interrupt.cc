#include "base/interrupt.h"

#include <atomic>
#include <csignal>

namespace flashmoe {
namespace {

std::atomic<bool> g_interrupted{false};
static_assert(std::atomic<bool>::is_always_lock_free);

}  // namespace

void install_interrupt() {
  struct sigaction action = {};
  action.sa_handler = [](int) { g_interrupted.store(true, std::memory_order_relaxed); };
  sigemptyset(&action.sa_mask);
  sigaction(SIGINT, &action, nullptr);
}

bool interrupted() noexcept { return g_interrupted.load(std::memory_order_relaxed); }
void clear_interrupt() noexcept { g_interrupted.store(false, std::memory_order_relaxed); }

}  // namespace flashmoe
