#include "experts/cache_replay.h"

#include <algorithm>
#include <limits>
#include <set>
#include <span>
#include <utility>

#include "base/check.h"
#include "experts/moe_runner.h"

namespace flashmoe::experts {

namespace {

constexpr double kWarmUpShare = 0.25;  // of all rows

// One expert, used by a layer of a step.
struct Visit {
  ExpertKey key;
  size_t number;
  std::span<const int32_t> ages;
};

// Who has the slots when one is needed for an expert of `layer`.
struct Demand {
  int layer;
  bool crowded;                    // as StreamedMoe sees it
  std::span<const uint64_t> used;  // slots of each layer
  uint64_t share;                  // slots of a layer that has its part
};

class Ours {
 public:
  Ours(const RoutingShape& shape, double half_life)
      : policy_(shape.layers, shape.experts, half_life) {}
  void advance(int64_t rows) { policy_.advance(rows); }
  void visit(const Visit& v) { policy_.visit(v.key, v.ages); }
  void add(ExpertKey key) { policy_.add(key); }
  void remove(ExpertKey key) { policy_.remove(key); }
  ExpertKey victim(const Demand& d) const {
    return d.crowded ? policy_.victim_for(d.layer, d.used, d.share) : policy_.victim();
  }

 private:
  EvictionPolicy policy_;
};

// The candidate of the lowest score goes.
class ByScore {
 public:
  explicit ByScore(size_t keys) : score_(keys, Score{0, 0}) {}
  void advance(int64_t /*rows*/) {}
  void add(ExpertKey key) { candidates_.insert({score_[index(key)], key}); }
  void remove(ExpertKey key) { candidates_.erase({score_[index(key)], key}); }
  ExpertKey victim(const Demand& /*demand*/) const {
    return candidates_.empty() ? -1 : candidates_.begin()->second;
  }

 protected:
  using Score = std::pair<int64_t, int64_t>;
  static size_t index(ExpertKey key) { return static_cast<size_t>(key); }
  Score score(ExpertKey key) const { return score_[index(key)]; }
  void set_score(ExpertKey key, Score score) {
    const bool candidate = candidates_.erase({score_[index(key)], key}) > 0;
    score_[index(key)] = score;
    if (candidate) candidates_.insert({score, key});
  }

 private:
  std::vector<Score> score_;
  std::set<std::pair<Score, ExpertKey>> candidates_;
};

class Lru : public ByScore {
 public:
  using ByScore::ByScore;
  void visit(const Visit& v) { set_score(v.key, {static_cast<int64_t>(v.number), 0}); }
};

class Lfu : public ByScore {
 public:
  using ByScore::ByScore;
  void visit(const Visit& v) {
    set_score(v.key, {score(v.key).first + 1, static_cast<int64_t>(v.number)});
  }
};

class Belady : public ByScore {
 public:
  Belady(size_t keys, std::vector<int64_t> next_uses)
      : ByScore(keys), next_uses_(std::move(next_uses)) {}
  void visit(const Visit& v) { set_score(v.key, {-next_uses_[v.number], 0}); }

 private:
  std::vector<int64_t> next_uses_;
};

}  // namespace

double ReplayCount::hit_share() const {
  return visits > 0 ? 1 - static_cast<double>(misses) / static_cast<double>(visits) : 0;
}

void ReplayCount::operator+=(const ReplayCount& other) {
  visits += other.visits;
  misses += other.misses;
  first_touches += other.first_touches;
}

ReplayCount ReplayResult::all() const {
  ReplayCount all = cold;
  all += warm;
  return all;
}

CacheReplay::CacheReplay(const RoutingTrace& trace)
    : shape_(trace.shape), key_count_(static_cast<size_t>(trace.shape.keys())) {
  const double warm_up_rows = kWarmUpShare * static_cast<double>(trace.rows());
  int64_t rows = 0;
  for (const TraceStep& step : trace.steps) {
    const bool warm = static_cast<double>(rows) >= warm_up_rows;
    rows += step.rows;
    const int64_t width = step.rows * trace.shape.k;
    for (int layer = 0; layer < trace.shape.layers; ++layer) {
      // Sorted by key, rows ascending within.
      std::vector<std::pair<ExpertKey, int32_t>> picks;
      for (int64_t i = 0; i < width; ++i) {
        picks.push_back({layer * trace.shape.experts + step.picks[layer * width + i],
                         static_cast<int32_t>(step.rows - 1 - i / trace.shape.k)});
      }
      std::ranges::sort(picks, {}, &std::pair<ExpertKey, int32_t>::first);
      const size_t begin = keys_.size();
      for (const auto& [key, age] : picks) {
        if (keys_.size() == begin || keys_.back() != key) {
          keys_.push_back(key);
          ages_begin_.push_back(ages_.size());
        }
        ages_.push_back(age);
      }
      const double distinct = static_cast<double>(keys_.size() - begin);
      const bool crowded = step.rows > 1 && distinct >= StreamedMoe::kCrowded * trace.shape.experts;
      groups_.push_back({begin, keys_.size(), layer, layer == 0 ? step.rows : 0, crowded, warm});
    }
  }
  ages_begin_.push_back(ages_.size());
}

std::vector<int64_t> CacheReplay::next_uses() const {
  std::vector<int64_t> next(keys_.size());
  std::vector<int64_t> soonest(key_count_, std::numeric_limits<int64_t>::max());
  for (size_t g = groups_.size(); g-- > 0;) {
    for (size_t i = groups_[g].begin; i < groups_[g].end; ++i) {
      int64_t& use = soonest[static_cast<size_t>(keys_[i])];
      next[i] = use;
      use = static_cast<int64_t>(g);
    }
  }
  return next;
}

template <typename Policy>
ReplayResult CacheReplay::play(Policy policy, int64_t slots) const {
  CHECK(slots >= 1);
  ReplayResult result;
  std::vector<bool> resident(key_count_), touched(key_count_);
  int64_t used = 0;
  std::vector<uint64_t> layer_used(static_cast<size_t>(shape_.layers));
  const uint64_t share = static_cast<uint64_t>(slots / std::max(1, shape_.layers));
  std::vector<ExpertKey> pinned, misses;
  const auto unpin = [&] {
    for (const ExpertKey key : pinned) policy.add(key);
    pinned.clear();
  };
  for (const Group& group : groups_) {
    ReplayCount& count = group.warm ? result.warm : result.cold;
    if (group.begins_step > 0) policy.advance(group.begins_step);
    for (size_t i = group.begin; i < group.end; ++i) {
      const ExpertKey key = keys_[i];
      const size_t k = static_cast<size_t>(key);
      policy.visit(
          {key, i, std::span(ages_).subspan(ages_begin_[i], ages_begin_[i + 1] - ages_begin_[i])});
      ++count.visits;
      if (resident[k]) {
        policy.remove(key);
        pinned.push_back(key);
      } else {
        misses.push_back(key);
        count.first_touches += touched[k] ? 0 : 1;
      }
      touched[k] = true;
    }
    count.misses += static_cast<int64_t>(misses.size());
    const Demand demand{group.layer, group.crowded, layer_used, share};
    if (group.crowded) unpin();  // in so large a step the hits are computed before misses arrive
    for (const ExpertKey key : misses) {
      if (used == slots) {
        if (policy.victim(demand) < 0) unpin();  // the layer's experts alone fill the cache
        const ExpertKey victim = policy.victim(demand);
        policy.remove(victim);
        resident[static_cast<size_t>(victim)] = false;
        --layer_used[static_cast<size_t>(victim / shape_.experts)];
        --used;
      }
      ++layer_used[static_cast<size_t>(group.layer)];
      resident[static_cast<size_t>(key)] = true;
      ++used;
      pinned.push_back(key);
    }
    misses.clear();
    unpin();
  }
  return result;
}

ReplayResult CacheReplay::run(ReplayPolicy policy, int64_t slots, double half_life) const {
  switch (policy) {
    case ReplayPolicy::kLru:
      return play(Lru(key_count_), slots);
    case ReplayPolicy::kLfu:
      return play(Lfu(key_count_), slots);
    case ReplayPolicy::kOurs:
      return play(Ours(shape_, half_life), slots);
    case ReplayPolicy::kBelady:
      break;
  }
  return play(Belady(key_count_, next_uses()), slots);
}

}  // namespace flashmoe::experts
