// Ctrl-C as something that can happen again and again: it ends what is being done, not the program.
// For programs that talk with somebody; base/stop_signal.h is for those that do one thing.
#pragma once

namespace flashmoe {

// From now on SIGINT sets a flag, and system calls that wait end with EINTR.
void install_interrupt();
bool interrupted() noexcept;  // since the last clear
void clear_interrupt() noexcept;

}  // namespace flashmoe
