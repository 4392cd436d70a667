// Ctrl-C (SIGINT) and SIGTERM as a polite request: the first one sets a flag that long work looks
// at, a second one ends the process as if there were no handler. So is a reader of our output that
// went away (SIGPIPE). Owns the flags and the handlers.
#pragma once

namespace flashmoe {

// Once, from main, after input has been read: system calls are restarted after the first signal, so
// a wait for the terminal would not notice it. Signals that are ignored (nohup) stay so.
void install_stop_signal();

// Whether a stop was asked for. Cheap; from any thread.
bool stop_requested() noexcept;

// Last of all: if a reader went away, ends the process by SIGPIPE, as if there had been no handler.
void end_after_closed_pipe();

}  // namespace flashmoe
