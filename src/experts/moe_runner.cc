#include "experts/moe_runner.h"

#include <algorithm>
#include <array>
#include <set>
#include <utility>

#include "base/check.h"
#include "base/error.h"
#include "base/timer.h"

namespace flashmoe::experts {

namespace {

constexpr size_t kMatrixAlignment = 64;

size_t aligned(size_t bytes) {
  return (bytes + kMatrixAlignment - 1) / kMatrixAlignment * kMatrixAlignment;
}

// The slot's layout: where gate, up and down start, and the size of it all.
std::array<size_t, 4> slot_offsets(const ExpertIndex::Layer& l, const kernels::Backend& backend) {
  const size_t gate = aligned(backend.prepared_bytes(l.gate, l.intermediate, l.hidden));
  const size_t up = aligned(backend.prepared_bytes(l.up, l.intermediate, l.hidden));
  const size_t down = aligned(backend.prepared_bytes(l.down, l.hidden, l.intermediate));
  return {0, gate, gate + up, gate + up + down};
}

}  // namespace

size_t StreamedMoe::slot_bytes(const ExpertIndex& index, int layer,
                               const kernels::Backend& backend) {
  return index.layer(layer).parts.empty() ? 0 : slot_offsets(index.layer(layer), backend)[3];
}

void StreamedMoe::begin_step(std::span<const int32_t> ages) {
  ages_.assign(ages.begin(), ages.end());
  cache_.begin_step(*std::max_element(ages.begin(), ages.end()) + 1);
  crowded_ = false;
  upcoming_.clear();
  next_upcoming_ = 0;
}

bool StreamedMoe::is_crowd(int64_t distinct) const {
  return ages_.size() > 1 && static_cast<double>(distinct) >= kCrowded * index_.experts();
}

void StreamedMoe::start(int layer, std::span<kernels::Route> routes, int k) {
  CHECK(layer_ < 0);
  layer_ = layer;
  const int experts = index_.experts();
  // Counting sort of the routes by expert; a route's place in it is its target.
  group_begin_.assign(static_cast<size_t>(experts) + 1, 0);
  for (const kernels::Route& r : routes) ++group_begin_[r.expert + 1];
  for (int e = 0; e < experts; ++e) group_begin_[e + 1] += group_begin_[e];
  rows_.resize(routes.size());
  row_ages_.resize(routes.size());
  std::vector<int32_t> next(group_begin_.begin(), group_begin_.end() - 1);
  for (size_t i = 0; i < routes.size(); ++i) {
    routes[i].target = next[routes[i].expert]++;
    const size_t row = i / static_cast<size_t>(k);
    rows_[routes[i].target] = static_cast<int32_t>(row);
    row_ages_[routes[i].target] = ages_[row];
  }

  for (int e = 0; e < experts; ++e) {
    const Work work{index_.key(layer, e), group_begin_[e], group_begin_[e + 1] - group_begin_[e]};
    if (work.count == 0) continue;
    const std::span<const int32_t> ages = std::span(row_ages_).subspan(
        static_cast<size_t>(work.first), static_cast<size_t>(work.count));
    cache_.visit(work.key, ages);
    if (std::optional<ExpertPin> pin = cache_.find(work.key)) {
      residents_.push_back({work, std::move(*pin)});
    } else {
      misses_.push_back(work);
    }
  }
  const size_t bytes = index_.expert_bytes(layer);
  stats_.hits += static_cast<int64_t>(residents_.size());
  stats_.misses += static_cast<int64_t>(misses_.size());
  stats_.hit_bytes += residents_.size() * bytes;
  stats_.miss_bytes += misses_.size() * bytes;

  adopt_early();
  crowded_ = is_crowd(static_cast<int64_t>(residents_.size() + misses_.size()));
  upcoming_.clear();
  next_upcoming_ = 0;
  if (crowded_) {
    int next_layer = layer + 1;
    while (next_layer < index_.layers() && index_.layer(next_layer).parts.empty()) ++next_layer;
    if (next_layer < index_.layers()) expect_all(next_layer);
  }
  start_reads();
}

// What was read ahead for this layer is part of its misses, or was in vain. crowded_ is still that
// of the layer which read ahead.
void StreamedMoe::adopt_early() {
  const auto was_asked_for = [&](const Work& w) {
    return std::find(ahead_.begin(), ahead_.end(), w.key) != ahead_.end();
  };
  next_miss_ = static_cast<size_t>(
      std::stable_partition(misses_.begin(), misses_.end(), was_asked_for) - misses_.begin());
  guesses_[static_cast<size_t>(layer_)].judge(
      [&](ExpertKey key) { return wanted(key) != nullptr; });
  if (!crowded_) {
    stats_.guesses += static_cast<int64_t>(ahead_.size());
    stats_.right_guesses += static_cast<int64_t>(next_miss_);
  }
  ahead_.clear();
  std::erase_if(early_, [&](const ExpertLoader::Loaded& loaded) {
    const bool in_vain = wanted(loaded.key) == nullptr;
    if (in_vain) loader_.release(loaded);
    return in_vain;
  });
}

void StreamedMoe::expect_all(int layer) {
  for (int e = 0; e < index_.experts(); ++e) upcoming_.push_back(index_.key(layer, e));
}

void StreamedMoe::expect(int layer, std::span<const kernels::Route> routes, int k) {
  if (!wants_early_routes(layer)) return;
  if (layer_ < 0) {  // a step's first layer
    std::set<int32_t> experts;
    for (const kernels::Route& r : routes) experts.insert(r.expert);
    crowded_ = is_crowd(static_cast<int64_t>(experts.size()));
    if (crowded_) {
      expect_all(layer);
      start_reads();
      return;
    }
  }
  RouteGuesses& guesses = guesses_[static_cast<size_t>(layer)];
  for (int rank = 0; rank < std::min(k, RouteGuesses::kRanks); ++rank) {
    for (size_t i = static_cast<size_t>(rank); i < routes.size(); i += static_cast<size_t>(k)) {
      const ExpertKey key = index_.key(layer, routes[i].expert);
      if (cache_.holds(key) || guesses.has(key) || guesses.full()) continue;
      guesses.add(key, rank);
      if (guesses.pays(rank)) upcoming_.push_back(key);
    }
  }
  start_reads();
}

void StreamedMoe::start_reads() {
  // A disk shares itself among all that it is asked for at once, and brings it all at the end; of a
  // few at a time the first can be computed while the next ones come. Where much is read ahead,
  // more are needed to keep it busy from one look at it to the next.
  const int at_once = crowded_ ? 16 : 3;
  while (loader_.can_start() && loader_.in_flight() < at_once) {
    if (next_miss_ < misses_.size()) {
      loader_.start(misses_[next_miss_++].key);
    } else if (!read_ahead()) {
      return;
    }
  }
}

bool StreamedMoe::read_ahead() {
  while (next_upcoming_ < upcoming_.size()) {
    const ExpertKey key = upcoming_[next_upcoming_++];
    if (cache_.holds(key)) continue;
    loader_.start(key);
    ahead_.push_back(key);
    return true;
  }
  return false;
}

void StreamedMoe::read_on() {
  CHECK(layer_ < 0);
  while (loader_.in_flight() > 0 && loader_.has_complete()) keep_early(loader_.wait());
}

void StreamedMoe::finish(const float* x, float* y, const kernels::FeedForwardJob* shared) {
  CHECK(layer_ >= 0);
  try {
    for (take_arrived(shared == nullptr); shared != nullptr || !residents_.empty();
         shared = nullptr) {
      compute_residents(x, y, shared);
      take_arrived(true);
    }
  } catch (const Error&) {
    abandon();
    throw;
  }
  misses_.clear();
  next_miss_ = taken_misses_ = 0;
  layer_ = -1;
}

void StreamedMoe::abandon() noexcept {
  loader_.drain();
  for (RouteGuesses& guesses : guesses_) guesses.forget();
  ahead_.clear();
  early_.clear();
  residents_.clear();
  misses_.clear();
  next_miss_ = taken_misses_ = 0;
  layer_ = -1;
}

// nullptr when it has arrived already: a guess of an earlier step may be under way still when the
// same expert is asked for, and come as well.
StreamedMoe::Work* StreamedMoe::wanted(ExpertKey key) {
  const auto work =
      std::find_if(misses_.begin(), misses_.end(), [&](const Work& w) { return w.key == key; });
  return work == misses_.end() || work->arrived ? nullptr : &*work;
}

// An expert of the layer at hand that has arrived, or arrives if `wait`. What arrives for the next
// layer stays in early_.
std::optional<ExpertLoader::Loaded> StreamedMoe::next_arrived(bool wait) {
  for (size_t i = 0; i < early_.size(); ++i) {
    if (wanted(early_[i].key) == nullptr) continue;
    const ExpertLoader::Loaded loaded = early_[i];
    early_.erase(early_.begin() + static_cast<std::ptrdiff_t>(i));
    return loaded;
  }
  Timer timer(&stats_.read_wait_s);
  while (wait || loader_.has_complete()) {
    const ExpertLoader::Loaded loaded = loader_.wait();
    if (wanted(loaded.key) != nullptr) return loaded;
    keep_early(loaded);
  }
  return std::nullopt;
}

// What is not of the layer at hand: of the next one, or asked for in vain.
void StreamedMoe::keep_early(const ExpertLoader::Loaded& loaded) {
  if (std::find(ahead_.begin(), ahead_.end(), loaded.key) != ahead_.end()) {
    early_.push_back(loaded);
  } else {
    loader_.release(loaded);
  }
  start_reads();
}

// Brings into slots what has arrived of the layer at hand, so that its buffers take the next reads;
// at least one expert if `wait`, unless all misses were taken.
void StreamedMoe::take_arrived(bool wait) {
  const std::array<size_t, 4> offsets = slot_offsets(index_.layer(layer_), backend_);
  start_reads();
  while (taken_misses_ < misses_.size()) {
    const std::optional<ExpertLoader::Loaded> loaded = next_arrived(wait && residents_.empty());
    if (!loaded) break;
    Timer timer(&stats_.compute_s);
    std::optional<ExpertPin> slot =
        cache_.reserve(loaded->key, crowded_ ? ExpertCache::Victim::kOfFullLayer
                                             : ExpertCache::Victim::kLeastUsed);
    if (!slot) {  // what is about to be computed fills the cache
      CHECK(!residents_.empty());
      early_.push_back(*loaded);
      break;
    }
    fill(*loaded, offsets, &*slot);
    slot->publish();
    Work& work = *wanted(loaded->key);
    work.arrived = true;
    residents_.push_back({work, std::move(*slot)});
    ++taken_misses_;
    start_reads();
  }
}

void StreamedMoe::fill(const ExpertLoader::Loaded& loaded, const std::array<size_t, 4>& offsets,
                       ExpertPin* slot) {
  bool is_slot = loader_.buffer_bytes() == cache_.common_slot_bytes();
  for (int m = 0; m < 3; ++m) {
    const kernels::FileMatrix& matrix = loaded.gate_up_down[m];
    is_slot &= backend_.is_laid_out(matrix.storage) && matrix.codes == loaded.memory + offsets[m];
  }
  if (is_slot) {  // as it came from disk; nothing is copied
    slot->exchange(loader_.exchange(loaded, slot->data()));
    return;
  }
  for (int m = 0; m < 3; ++m) {
    const kernels::FileMatrix& matrix = loaded.gate_up_down[m];
    backend_.prepare(matrix, 0, matrix.rows, slot->data() + offsets[m]);
  }
  loader_.release(loaded);
}

void StreamedMoe::compute_residents(const float* x, float* y,
                                    const kernels::FeedForwardJob* shared) {
  Timer timer(&stats_.compute_s);
  int64_t pairs = shared != nullptr ? static_cast<int64_t>(shared->rows.size()) : 0;
  size_t count = 0;
  while (count < residents_.size() &&
         (pairs == 0 || pairs + residents_[count].work.count <= kPairsPerCall)) {
    pairs += residents_[count++].work.count;
  }
  compute(x, std::span(residents_).first(count), y, shared);
  residents_.erase(residents_.begin(), residents_.begin() + static_cast<std::ptrdiff_t>(count));
}

void StreamedMoe::compute(const float* x, std::span<const Resident> residents, float* y,
                          const kernels::FeedForwardJob* shared) {
  const ExpertIndex::Layer& l = index_.layer(layer_);
  jobs_.clear();
  int64_t pairs = 0;
  for (const Resident& r : residents) {
    const std::span<const int32_t> rows = std::span(rows_).subspan(
        static_cast<size_t>(r.work.first), static_cast<size_t>(r.work.count));
    jobs_.push_back({network(r.work.key, r.pin.data()), rows, y + r.work.first * l.hidden});
    pairs += r.work.count;
  }
  if (tap_ != nullptr) {
    inner_.resize(static_cast<size_t>(pairs * l.intermediate));
    float* inner = inner_.data();
    for (kernels::FeedForwardJob& job : jobs_) {
      job.inner = inner;
      inner += static_cast<int64_t>(job.rows.size()) * l.intermediate;
    }
  }
  if (shared != nullptr) jobs_.push_back(*shared);
  backend_.feed_forward(x, l.hidden, jobs_);
  if (tap_ == nullptr) return;
  for (size_t i = 0; i < residents.size(); ++i) {
    tap_->on_expert(layer_, residents[i].work.key % index_.experts(), x, l.hidden, jobs_[i].rows,
                    jobs_[i].inner, l.intermediate);
  }
}

kernels::FeedForward StreamedMoe::network(ExpertKey key, std::byte* slot) const {
  const ExpertIndex::Layer& l = index_.layer_of(key);
  const std::array<size_t, 4> offsets = slot_offsets(l, backend_);
  return {{l.gate, l.intermediate, l.hidden, slot + offsets[0]},
          {l.up, l.intermediate, l.hidden, slot + offsets[1]},
          {l.down, l.hidden, l.intermediate, slot + offsets[2]}};
}

MoeStats StreamedMoe::stats() const {
  MoeStats result = stats_;
  result.disk_bytes = loader_.read_bytes();
  result.read_busy_s = loader_.busy_s();
  return result;
}

}  // namespace flashmoe::experts
