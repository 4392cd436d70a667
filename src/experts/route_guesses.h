// Guesses at the experts of a layer, made before it begins, and how often they come true. Owns the
// record of each rank (the router's most probable expert, its second, ...), as the first ranks are
// right far more often than the last. Knows nothing of disks.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <vector>

#include "experts/expert_index.h"

namespace flashmoe::experts {

class RouteGuesses {
 public:
  static constexpr int kRanks = 16;  // later ones are not guessed

  // Whether an expert guessed at that rank is worth reading. What is wrong delays what is needed,
  // so most must be right; all get a trial.
  bool pays(int rank) const {
    const Record& r = records_[static_cast<size_t>(rank)];
    return r.guesses < kTrial || r.right >= kWorthwhile * r.guesses;
  }
  bool any_pays() const {
    for (int rank = 0; rank < kRanks; ++rank) {
      if (pays(rank)) return true;
    }
    return false;
  }

  bool full() const { return guesses_.size() == kMost; }
  bool has(ExpertKey key) const {
    return std::any_of(guesses_.begin(), guesses_.end(),
                       [&](const Guess& g) { return g.key == key; });
  }
  // rank in [0, kRanks). Every guess is judged, read or not.
  void add(ExpertKey key, int rank) { guesses_.push_back({key, rank}); }

  // The layer has come, and needed(key) says which were right: notes it and forgets the guesses.
  template <typename Needed>
  void judge(Needed&& needed) {
    for (const Guess& g : guesses_) {
      Record& r = records_[static_cast<size_t>(g.rank)];
      if (r.guesses >= kMemory) r = {r.guesses / 2, r.right / 2};
      r.guesses += 1;
      if (needed(g.key)) r.right += 1;
    }
    forget();
  }
  // The layer does not come.
  void forget() { guesses_.clear(); }

 private:
  static constexpr size_t kMost = 64;  // guesses at a time: more could hardly be read
  // With 0.8 as a bound, a twentieth is read in vain where 81 % come true in all; with 0.6 a tenth,
  // for no more speed (docs/experiments.md).
  static constexpr double kTrial = 16, kMemory = 512, kWorthwhile = 0.8;

  struct Guess {
    ExpertKey key;
    int rank;
  };
  struct Record {
    double guesses = 0, right = 0;
  };
  std::array<Record, kRanks> records_;
  std::vector<Guess> guesses_;
};

}  // namespace flashmoe::experts
