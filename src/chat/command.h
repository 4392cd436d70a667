// Runs a program for the model: bounded in time and output, in a process group of its own, so that
// all of it can be ended. Owns the process while it runs.
#pragma once

#include <functional>
#include <string>
#include <vector>

namespace flashmoe::chat {

struct CommandLimits {
  double timeout_s = 60;
  size_t output_bytes = 16 << 10;  // what is more is dropped, and said so
};

struct CommandResult {
  std::string output;  // of standard output and error, as they came
  int exit_code = -1;  // -1: ended by a signal, or by us
  bool timed_out = false, stopped = false, cut = false;
  // What the model is told: the output, then in brackets what there is to say of the rest.
  std::string text(const CommandLimits& limits) const;
};

// `words` are the program and its arguments; no shell reads them. `stop` is asked several times a
// second. Throws Error kIo when the program cannot be started.
CommandResult run_command(const std::vector<std::string>& words, const std::string& input,
                          const CommandLimits& limits, const std::function<bool()>& stop);

}  // namespace flashmoe::chat
