#include "tests/support/child_process.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <string_view>

#include "base/check.h"

namespace flashmoe {

namespace {

struct Pipe {
  int read_end = -1, write_end = -1;
};

Pipe make_pipe() {
  int ends[2];
  CHECK(pipe2(ends, O_CLOEXEC) == 0);
  return {ends[0], ends[1]};
}

void close_end(int* end) {
  if (*end >= 0) close(*end);
  *end = -1;
}

// This process's environment with changes.
std::vector<std::string> merged_environment(const std::map<std::string, std::string>& changes) {
  std::vector<std::string> result;
  for (char** entry = environ; *entry != nullptr; ++entry) {
    const std::string_view text = *entry;
    if (!changes.contains(std::string(text.substr(0, text.find('='))))) result.emplace_back(text);
  }
  for (const auto& [name, value] : changes) result.push_back(name + "=" + value);
  return result;
}

std::vector<char*> pointers(std::vector<std::string>& strings) {
  std::vector<char*> result;
  for (std::string& s : strings) result.push_back(s.data());
  result.push_back(nullptr);
  return result;
}

// Takes what is there; false at the end.
bool read_some(int fd, std::string* to) {
  std::array<char, 1 << 16> buffer;
  const ssize_t n = read(fd, buffer.data(), buffer.size());
  if (n > 0) to->append(buffer.data(), static_cast<size_t>(n));
  return n > 0 || (n < 0 && errno == EINTR);
}

}  // namespace

std::ostream& operator<<(std::ostream& stream, const Outcome& o) {
  if (o.timed_out) stream << "timed out; ";
  if (o.signal != 0) {
    stream << "ended by signal " << o.signal;
  } else {
    stream << "exit code " << o.exit_code;
  }
  return stream << "\nstdout: " << o.out.substr(0, 4000) << "\nstderr: " << o.err.substr(0, 4000);
}

ChildProcess::ChildProcess(const Command& command)
    : input_(command.input),
      deadline_(Clock::now() + std::chrono::duration_cast<Clock::duration>(
                                   std::chrono::duration<double>(command.timeout_s))) {
  // A child that does not read its input must not end us.
  std::signal(SIGPIPE, SIG_IGN);
  std::vector<std::string> arguments = {command.program};
  arguments.insert(arguments.end(), command.arguments.begin(), command.arguments.end());
  std::vector<std::string> environment = merged_environment(command.environment);
  const std::vector<char*> argv = pointers(arguments);
  const std::vector<char*> envp = pointers(environment);
  Pipe in = make_pipe(), out = make_pipe(), err = make_pipe();
  int output = out.write_end;
  if (!command.output_path.empty()) {
    output = open(command.output_path.c_str(), O_WRONLY | O_CLOEXEC);
    CHECK(output >= 0);
  }

  pid_ = fork();
  CHECK(pid_ >= 0);
  if (pid_ == 0) {  // only async-signal-safe calls until exec
    std::signal(SIGPIPE, SIG_DFL);
    dup2(in.read_end, STDIN_FILENO);
    dup2(output, STDOUT_FILENO);
    dup2(err.write_end, STDERR_FILENO);
    execve(argv[0], argv.data(), envp.data());
    _exit(127);
  }
  if (output != out.write_end) close(output);
  for (int* end : {&in.read_end, &out.write_end, &err.write_end}) close_end(end);
  in_ = in.write_end;
  out_ = out.read_end;
  err_ = err.read_end;
  fcntl(in_, F_SETFL, O_NONBLOCK);
  if (input_.empty()) close_end(&in_);
}

ChildProcess::~ChildProcess() {
  if (pid_ >= 0) {
    kill(pid_, SIGKILL);
    reap();
  }
  for (int* end : {&in_, &out_, &err_}) close_end(end);
}

bool ChildProcess::pump() {
  std::array<pollfd, 3> polls = {
      {{in_, POLLOUT, 0}, {out_, POLLIN, 0}, {err_, POLLIN, 0}}};  // -1 is passed over
  if (in_ < 0 && out_ < 0 && err_ < 0) return false;
  constexpr int kMomentMs = 20;
  if (poll(polls.data(), polls.size(), kMomentMs) <= 0) return true;
  if (polls[0].revents != 0) {
    const ssize_t n = write(in_, input_.data(), input_.size());
    if (n > 0) input_.erase(0, static_cast<size_t>(n));
    if (input_.empty() || (n < 0 && errno != EAGAIN && errno != EINTR)) close_end(&in_);
  }
  if (polls[1].revents != 0 && !read_some(out_, &outcome_.out)) close_end(&out_);
  if (polls[2].revents != 0 && !read_some(err_, &outcome_.err)) close_end(&err_);
  return true;
}

bool ChildProcess::wait_for_output(size_t bytes) {
  while (outcome_.out.size() < bytes && out_ >= 0 && Clock::now() < deadline_) pump();
  return outcome_.out.size() >= bytes;
}

bool ChildProcess::wait_for_error(std::string_view text) {
  const auto is_there = [&] { return outcome_.err.find(text) != std::string::npos; };
  while (!is_there() && err_ >= 0 && Clock::now() < deadline_) pump();
  return is_there();
}

void ChildProcess::send(int signal) {
  CHECK(pid_ > 0);  // kill knows -1 as everybody
  kill(pid_, signal);
}

void ChildProcess::close_output() { close_end(&out_); }
void ChildProcess::close_error() { close_end(&err_); }

Outcome ChildProcess::wait() {
  while (pump()) {
    if (!outcome_.timed_out && Clock::now() >= deadline_) {
      outcome_.timed_out = true;
      kill(pid_, SIGKILL);
    }
  }
  reap();
  return outcome_;
}

void ChildProcess::reap() {
  int status = 0;
  rusage usage = {};
  while (wait4(pid_, &status, 0, &usage) < 0 && errno == EINTR) {
  }
  pid_ = -1;
  if (WIFEXITED(status)) outcome_.exit_code = WEXITSTATUS(status);
  if (WIFSIGNALED(status)) outcome_.signal = WTERMSIG(status);
  outcome_.peak_rss_bytes = static_cast<uint64_t>(usage.ru_maxrss) * 1024;
}

Outcome run_command(const Command& command) { return ChildProcess(command).wait(); }

}  // namespace flashmoe
