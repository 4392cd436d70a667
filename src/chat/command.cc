#include "chat/command.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstring>

#include "base/error.h"

namespace flashmoe::chat {

namespace {

using Clock = std::chrono::steady_clock;

constexpr int kPollMs = 20;

// A file descriptor that is closed at the end.
class Descriptor {
 public:
  explicit Descriptor(int fd = -1) : fd_(fd) {}
  ~Descriptor() { close(); }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  int get() const { return fd_; }
  void close() {
    if (fd_ >= 0) ::close(fd_);
    fd_ = -1;
  }
  void reset(int fd) {
    close();
    fd_ = fd;
  }

 private:
  int fd_;
};

// A program that does not read its input must not end us by SIGPIPE.
class IgnoredSigpipe {
 public:
  IgnoredSigpipe() : before_(signal(SIGPIPE, SIG_IGN)) {}
  ~IgnoredSigpipe() { signal(SIGPIPE, before_); }
  IgnoredSigpipe(const IgnoredSigpipe&) = delete;
  IgnoredSigpipe& operator=(const IgnoredSigpipe&) = delete;

 private:
  void (*before_)(int);
};

// Other programs must not inherit the ends. (macOS has no call that does both at once; commands run
// one after the other, so nothing is started in between.)
void make_pipe(Descriptor* read_end, Descriptor* write_end) {
  std::array<int, 2> ends{};
  if (pipe(ends.data()) != 0) {
    throw_error(ErrorCode::kIo, "cannot make a pipe: {}", std::strerror(errno));
  }
  for (int end : ends) fcntl(end, F_SETFD, FD_CLOEXEC);
  read_end->reset(ends[0]);
  write_end->reset(ends[1]);
}

// In the child; only async-signal-safe calls. `report` gets errno when the program cannot start.
[[noreturn]] void become(char* const* words, int input, int output, int report) {
  setpgid(0, 0);
  dup2(input, STDIN_FILENO);
  dup2(output, STDOUT_FILENO);
  dup2(output, STDERR_FILENO);
  signal(SIGINT, SIG_DFL);
  signal(SIGTERM, SIG_DFL);
  signal(SIGPIPE, SIG_DFL);
  execvp(words[0], words);
  const int error = errno;
  [[maybe_unused]] const ssize_t written = write(report, &error, sizeof error);
  _exit(127);
}

}  // namespace

std::string CommandResult::text(const CommandLimits& limits) const {
  std::string said = output;
  const auto note = [&](const std::string& line) {
    if (!said.empty() && !said.ends_with('\n')) said += '\n';
    said += "[" + line + "]";
  };
  if (cut) note(fmt::format("only the first {} bytes are shown", limits.output_bytes));
  if (timed_out) {
    note(fmt::format("ended after {:g} seconds", limits.timeout_s));
  } else if (stopped) {
    note("the user stopped it");
  } else if (exit_code != 0) {
    note(exit_code < 0 ? "ended by a signal" : fmt::format("exit code {}", exit_code));
  } else if (said.empty()) {
    note("no output");
  }
  return said;
}

CommandResult run_command(const std::vector<std::string>& words, const std::string& input,
                          const CommandLimits& limits, const std::function<bool()>& stop) {
  const IgnoredSigpipe ignored_sigpipe;
  std::vector<char*> argv;
  for (const std::string& word : words) argv.push_back(const_cast<char*>(word.c_str()));
  argv.push_back(nullptr);
  Descriptor in_read, in_write, out_read, out_write, report_read, report_write;
  make_pipe(&in_read, &in_write);
  make_pipe(&out_read, &out_write);
  make_pipe(&report_read, &report_write);
  const pid_t pid = fork();
  if (pid < 0) throw_error(ErrorCode::kIo, "cannot start a process: {}", std::strerror(errno));
  if (pid == 0) become(argv.data(), in_read.get(), out_write.get(), report_write.get());
  setpgid(pid, pid);
  in_read.close();
  out_write.close();
  report_write.close();
  fcntl(in_write.get(), F_SETFL, O_NONBLOCK);
  fcntl(out_read.get(), F_SETFL, O_NONBLOCK);

  int start_error = 0;
  if (read(report_read.get(), &start_error, sizeof start_error) > 0) {
    waitpid(pid, nullptr, 0);
    throw_error(ErrorCode::kIo, "cannot start {}: {}", words[0], std::strerror(start_error));
  }

  CommandResult result;
  // False at the end of the output, or when nothing is there right now.
  const auto read_piece = [&] {
    std::array<char, 4096> piece;
    const ssize_t bytes = read(out_read.get(), piece.data(), piece.size());
    if (bytes == 0) out_read.close();
    if (bytes <= 0) return false;
    const size_t room = limits.output_bytes - result.output.size();
    result.cut = result.cut || static_cast<size_t>(bytes) > room;
    result.output.append(piece.data(), std::min(static_cast<size_t>(bytes), room));
    return true;
  };
  size_t sent = 0;
  const auto write_piece = [&] {
    const ssize_t bytes = write(in_write.get(), input.data() + sent, input.size() - sent);
    if (bytes > 0) sent += static_cast<size_t>(bytes);
    if (sent == input.size() || (bytes < 0 && errno != EAGAIN && errno != EINTR)) in_write.close();
  };
  if (input.empty()) in_write.close();
  const Clock::time_point deadline =
      Clock::now() +
      std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(limits.timeout_s));
  int status = 0;
  // It has ended when the program has, whoever of its children still holds the output open.
  while (waitpid(pid, &status, WNOHANG) != pid) {
    std::array<pollfd, 2> waits{pollfd{out_read.get(), POLLIN, 0},
                                pollfd{in_write.get(), POLLOUT, 0}};
    poll(waits.data(), waits.size(), kPollMs);
    if (waits[1].revents != 0) write_piece();
    if (waits[0].revents != 0) read_piece();
    result.timed_out = Clock::now() > deadline;
    result.stopped = stop && stop();
    if (result.timed_out || result.stopped) {
      kill(-pid, SIGKILL);
      waitpid(pid, &status, 0);
      break;
    }
  }
  while (out_read.get() >= 0 && read_piece()) {
  }
  if (WIFEXITED(status)) result.exit_code = WEXITSTATUS(status);
  return result;
}

}  // namespace flashmoe::chat
