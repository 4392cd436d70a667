#include "experts/moe_runner.h"

#include <algorithm>
#include <array>
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

void StreamedMoe::start(int layer, std::span<kernels::Route> routes, int k) {
  CHECK(layer_ < 0);
  layer_ = layer;
  const int experts = index_.experts();
  // Counting sort of the routes by expert; a route's place in it is its target.
  group_begin_.assign(static_cast<size_t>(experts) + 1, 0);
  for (const kernels::Route& r : routes) ++group_begin_[r.expert + 1];
  for (int e = 0; e < experts; ++e) group_begin_[e + 1] += group_begin_[e];
  rows_.resize(routes.size());
  std::vector<int32_t> next(group_begin_.begin(), group_begin_.end() - 1);
  for (size_t i = 0; i < routes.size(); ++i) {
    routes[i].target = next[routes[i].expert]++;
    rows_[routes[i].target] = static_cast<int32_t>(i / static_cast<size_t>(k));
  }

  const size_t bytes = index_.expert_bytes(layer);
  for (int e = 0; e < experts; ++e) {
    const Work work{index_.key(layer, e), group_begin_[e], group_begin_[e + 1] - group_begin_[e]};
    if (work.count == 0) continue;
    cache_.visit(work.key);
    if (std::optional<ExpertPin> pin = cache_.find(work.key)) {
      hits_.push_back({work, std::move(*pin)});
    } else {
      misses_.push_back(work);
    }
  }
  stats_.hits += static_cast<int64_t>(hits_.size());
  stats_.misses += static_cast<int64_t>(misses_.size());
  stats_.hit_bytes += hits_.size() * bytes;
  stats_.miss_bytes += misses_.size() * bytes;
  start_reads();
}

void StreamedMoe::start_reads() {
  while (next_miss_ < misses_.size() && loader_.can_start()) {
    std::optional<ExpertPin> slot = cache_.reserve(misses_[next_miss_].key);
    if (!slot) return;  // all slots are pinned: go on when some have been computed
    loader_.start(slot->key());
    loading_.push_back(std::move(*slot));
    ++next_miss_;
  }
}

void StreamedMoe::finish(const float* x, float* y) {
  CHECK(layer_ >= 0);
  try {
    compute_hits(x, y);
    start_reads();
    while (loader_.in_flight() > 0) {
      ExpertLoader::Loaded loaded;
      {
        Timer timer(&stats_.read_wait_s);
        loaded = loader_.wait();
      }
      compute_arrived(loaded, x, y);
      start_reads();
    }
    CHECK(next_miss_ == misses_.size());
  } catch (const Error&) {
    abandon();
    throw;
  }
  misses_.clear();
  next_miss_ = 0;
  layer_ = -1;
}

void StreamedMoe::abandon() noexcept {
  loader_.drain();
  loading_.clear();
  hits_.clear();
  misses_.clear();
  next_miss_ = 0;
  layer_ = -1;
}

void StreamedMoe::compute_hits(const float* x, float* y) {
  Timer timer(&stats_.compute_s);
  const int64_t hidden = index_.layer(layer_).hidden;
  for (size_t begin = 0; begin < hits_.size();) {
    jobs_.clear();
    int64_t pairs = 0;
    size_t end = begin;
    for (; end < hits_.size() && (end == begin || pairs + hits_[end].work.count <= kPairsPerCall);
         ++end) {
      jobs_.push_back(job(hits_[end].work, hits_[end].pin.data()));
      pairs += hits_[end].work.count;
    }
    backend_.feed_forward(x, hidden, jobs_, y);
    begin = end;
  }
  hits_.clear();
}

void StreamedMoe::compute_arrived(const ExpertLoader::Loaded& loaded, const float* x, float* y) {
  Timer timer(&stats_.compute_s);
  const auto pin = std::find_if(loading_.begin(), loading_.end(),
                                [&](const ExpertPin& p) { return p.key() == loaded.key; });
  const auto work = std::find_if(misses_.begin(), misses_.end(),
                                 [&](const Work& w) { return w.key == loaded.key; });
  CHECK(pin != loading_.end() && work != misses_.end());
  std::byte* slot = pin->data();
  const std::array<size_t, 4> offsets = slot_offsets(index_.layer(layer_), backend_);
  for (int m = 0; m < 3; ++m) {
    const kernels::FileMatrix& matrix = loaded.gate_up_down[m];
    backend_.prepare(matrix, 0, matrix.rows, slot + offsets[m]);
  }
  loader_.release(loaded);
  const kernels::FeedForwardJob one = job(*work, slot);
  backend_.feed_forward(x, index_.layer(layer_).hidden, {&one, 1}, y);
  pin->publish();
  std::swap(*pin, loading_.back());
  loading_.pop_back();
}

kernels::FeedForward StreamedMoe::network(ExpertKey key, std::byte* slot) const {
  const ExpertIndex::Layer& l = index_.layer_of(key);
  const std::array<size_t, 4> offsets = slot_offsets(l, backend_);
  return {{l.gate, l.intermediate, l.hidden, slot + offsets[0]},
          {l.up, l.intermediate, l.hidden, slot + offsets[1]},
          {l.down, l.hidden, l.intermediate, slot + offsets[2]}};
}

kernels::FeedForwardJob StreamedMoe::job(const Work& work, std::byte* slot) const {
  return {
      network(work.key, slot),
      std::span(rows_).subspan(static_cast<size_t>(work.first), static_cast<size_t>(work.count)),
      work.first};
}

MoeStats StreamedMoe::stats() const {
  MoeStats result = stats_;
  result.disk_bytes = loader_.read_bytes();
  result.read_busy_s = loader_.busy_s();
  return result;
}

}  // namespace flashmoe::experts
