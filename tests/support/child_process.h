// Runs another program as a shell would: arguments, standard input, environment, signals, a time
// limit. Owns the process: one that still runs when its object goes is killed. Knows nothing of
// flashmoe.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <cstdint>
#include <map>
#include <ostream>
#include <string>
#include <string_view>
#include <vector>

namespace flashmoe {

struct Command {
  std::string program = {};
  std::vector<std::string> arguments = {};
  std::string input = {};                               // all of standard input
  std::map<std::string, std::string> environment = {};  // on top of this process's
  std::string output_path = {};                         // standard output goes there, not to `out`
  double timeout_s = 120;
};

struct Outcome {
  int exit_code = -1;  // -1: ended by a signal
  int signal = 0;
  bool timed_out = false;
  std::string out, err;
  uint64_t peak_rss_bytes = 0;  // as the system counted
};
std::ostream& operator<<(std::ostream& stream, const Outcome& outcome);  // for failed tests

class ChildProcess {
 public:
  explicit ChildProcess(const Command& command);
  ~ChildProcess();
  ChildProcess(const ChildProcess&) = delete;
  ChildProcess& operator=(const ChildProcess&) = delete;

  // Waits until so many bytes of standard output are there. False if it ended before or took too
  // long.
  bool wait_for_output(size_t bytes);
  const std::string& output() const { return outcome_.out; }  // as far as it was waited for
  // The same until standard error holds `text`.
  bool wait_for_error(std::string_view text);
  void send(int signal);
  // Nobody reads standard output any more, as behind `| head`.
  void close_output();
  void close_error();  // the same of standard error
  // Waits for the end, with a kill at the time limit.
  Outcome wait();

 private:
  using Clock = std::chrono::steady_clock;
  bool pump();  // moves bytes for a moment; false when all pipes are closed
  void reap();

  pid_t pid_ = -1;
  int in_ = -1, out_ = -1, err_ = -1;  // our ends; -1: closed
  std::string input_;                  // not written yet
  Outcome outcome_;
  Clock::time_point deadline_;
};

Outcome run_command(const Command& command);

}  // namespace flashmoe
