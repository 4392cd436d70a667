// How much of something was done in the last seconds. Owns one sum for each of them. Times are
// seconds on any clock that starts at 0.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>

namespace flashmoe::engine {

class RateWindow {
 public:
  static constexpr int kSeconds = 10;

  // `amount` was done evenly between two times. Times never go back.
  void add(double begin_s, double end_s, double amount) {
    const int64_t last = static_cast<int64_t>(end_s);
    advance(last);
    const double length_s = end_s - begin_s;
    for (int64_t s = std::max<int64_t>(static_cast<int64_t>(begin_s), last - kSeconds + 1);
         s <= last; ++s) {
      const double from = std::max(begin_s, static_cast<double>(s));
      const double to = std::min(end_s, static_cast<double>(s + 1));
      sums_[index(s)] += length_s > 0 ? amount * (to - from) / length_s : amount;
    }
  }

  // A second's amount, over the whole seconds in the window and what has passed of the present one.
  double per_second(double now_s) const {
    const int64_t now = static_cast<int64_t>(now_s);
    double sum = 0;
    for (int64_t s = std::max<int64_t>(0, now - kSeconds + 1); s <= std::min(now, last_); ++s) {
      if (s > last_ - kSeconds) sum += sums_[index(s)];
    }
    const double covered_s = std::min(now_s, now_s - static_cast<double>(now) + kSeconds - 1);
    return covered_s > 0 ? sum / covered_s : 0;
  }

 private:
  static size_t index(int64_t second) { return static_cast<size_t>(second % kSeconds); }
  void advance(int64_t second) {
    for (int64_t s = std::max(last_ + 1, second - kSeconds + 1); s <= second; ++s) {
      sums_[index(s)] = 0;
    }
    last_ = std::max(last_, second);
  }

  std::array<double, kSeconds> sums_{};
  int64_t last_ = 0;  // the latest second with a sum
};

}  // namespace flashmoe::engine
