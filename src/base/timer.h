// Adds the wall time of a scope to a counter of seconds.
#pragma once

#include <chrono>

namespace flashmoe {

class Timer {
 public:
  explicit Timer(double* seconds) : seconds_(seconds) {}
  Timer(const Timer&) = delete;
  Timer& operator=(const Timer&) = delete;
  ~Timer() {
    *seconds_ += std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count();
  }

 private:
  double* seconds_;
  std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
};

}  // namespace flashmoe
