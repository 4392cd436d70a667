#include "limits/machine_probe.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstring>
#include <vector>

#include "base/check.h"

namespace flashmoe::limits {

namespace {

using Clock = std::chrono::steady_clock;

// The median time of passes that go on for about `seconds`, three at least.
template <typename Pass>
double median_seconds(double seconds, Pass&& pass) {
  constexpr size_t kLeastPasses = 3;
  std::vector<double> times;
  const Clock::time_point start = Clock::now();
  Clock::time_point before = start;
  while (times.size() < kLeastPasses ||
         std::chrono::duration<double>(before - start).count() < seconds) {
    pass();
    const Clock::time_point now = Clock::now();
    times.push_back(std::chrono::duration<double>(now - before).count());
    before = now;
  }
  const auto middle = times.begin() + static_cast<std::ptrdiff_t>(times.size() / 2);
  std::nth_element(times.begin(), middle, times.end());
  return *middle;
}

// Small enough that a thread that loses its processor for a while holds up the others little.
constexpr size_t kTaskBytes = size_t{1} << 20;

}  // namespace

MachineProbe::MachineProbe(ThreadPool& pool, size_t buffer_bytes)
    : pool_(pool),
      loops_(probe_loops(kernels::cpu::chosen_isa())),
      buffer_(std::max<size_t>(buffer_bytes / kTaskBytes, 1) * kTaskBytes) {
  // Pages that were never written may all be one page of zeros.
  pool_.run(static_cast<int>(buffer_.bytes() / kTaskBytes), [&](int task) noexcept {
    std::memset(buffer_.data() + static_cast<size_t>(task) * kTaskBytes, 1, kTaskBytes);
  });
}

double MachineProbe::memory_pass_s() {
  std::atomic<uint64_t> sink{0};
  const Clock::time_point start = Clock::now();
  pool_.run(static_cast<int>(buffer_.bytes() / kTaskBytes), [&](int task) noexcept {
    sink.fetch_add(loops_.sum(buffer_.data() + static_cast<size_t>(task) * kTaskBytes, kTaskBytes),
                   std::memory_order_relaxed);
  });
  const double seconds = std::chrono::duration<double>(Clock::now() - start).count();
  CHECK(sink.load() != 0);
  return seconds;
}

double MachineProbe::memory_bytes_s(double seconds) {
  return static_cast<double>(buffer_.bytes()) / median_seconds(seconds, [&] { memory_pass_s(); });
}

double MachineProbe::int8_ops_s(double seconds) {
  // A pass takes a millisecond or less, so that the median is one that nobody interrupted.
  constexpr int64_t kOpsPerTask = int64_t{1} << 24;
  const int64_t rounds = kOpsPerTask / loops_.ops_per_round;
  const int tasks = 4 * pool_.threads();
  const double pass_s = median_seconds(
      seconds, [&] { pool_.run(tasks, [&](int) noexcept { loops_.multiply_add(rounds); }); });
  return static_cast<double>(rounds * loops_.ops_per_round) * tasks / pass_s;
}

}  // namespace flashmoe::limits
