#include "experts/expert_cache.h"

#include <algorithm>
#include <utility>

#include "base/check.h"

namespace flashmoe::experts {

namespace {

// Slots start on pages, so that a slot's memory can be given back to the system alone.
constexpr size_t kPageBytes = 4096;

}  // namespace

size_t ExpertCache::slot_size(size_t bytes) {
  return (bytes + kPageBytes - 1) / kPageBytes * kPageBytes;
}

ExpertPin::~ExpertPin() {
  if (cache_ != nullptr) cache_->unpin(key_);
}

std::byte* ExpertPin::data() const { return cache_->slot(key_); }

std::byte* ExpertPin::exchange(std::byte* memory) {
  CHECK(cache_->entries_[key_].stage == ExpertCache::Stage::kReserved);
  CHECK(cache_->common_slot_bytes() > 0);
  return std::exchange(cache_->slot(key_), memory);
}

void ExpertPin::publish() {
  ExpertCache::Entry& entry = cache_->entries_[key_];
  CHECK(entry.stage == ExpertCache::Stage::kReserved);
  entry.stage = ExpertCache::Stage::kResident;
  ++cache_->resident_;
}

ExpertCache::ExpertCache(const ExpertIndex& index, std::vector<size_t> slot_bytes,
                         size_t budget_bytes)
    : index_(index),
      budget_bytes_(budget_bytes),
      layer_bytes_(slot_bytes.size(), 0),
      class_index_(slot_bytes.size(), -1),
      entries_(static_cast<size_t>(index.layers()) * index.experts()),
      finds_(entries_.size()),
      policy_(index.layers(), index.experts()) {
  std::map<size_t, int> class_by_size;
  size_t layers = 0;
  for (size_t layer = 0; layer < slot_bytes.size(); ++layer) {
    if (slot_bytes[layer] == 0) continue;
    ++layers;
    const size_t bytes = slot_size(slot_bytes[layer]);
    const auto [it, added] = class_by_size.insert({bytes, static_cast<int>(classes_.size())});
    if (added) classes_.emplace_back().slot_bytes = bytes;
    class_index_[layer] = it->second;
    classes_[it->second].capacity += index.experts();
  }
  layer_share_bytes_ = budget_bytes / std::max<size_t>(1, layers);
  // One class keeps its slots for good; of several, each gives memory back for the others.
  const Pages pages = classes_.size() > 1 ? Pages::kSmall : Pages::kHuge;
  for (SizeClass& c : classes_) {
    c.capacity = static_cast<int>(
        std::min<size_t>(static_cast<size_t>(c.capacity), budget_bytes / c.slot_bytes));
    c.memory = AlignedBuffer(c.slot_bytes * static_cast<size_t>(c.capacity), pages);
    for (size_t i = 0; i < static_cast<size_t>(c.capacity); ++i) {
      c.slots.push_back(c.memory.data() + i * c.slot_bytes);
    }
  }
}

std::optional<ExpertPin> ExpertCache::find(ExpertKey key) {
  Entry& entry = entries_[key];
  if (entry.stage != Stage::kResident) {
    ++finds_[key].misses;
    return std::nullopt;
  }
  ++finds_[key].hits;
  if (entry.pins++ == 0) policy_.remove(key);
  return ExpertPin(this, key);
}

std::optional<ExpertPin> ExpertCache::reserve(ExpertKey key, Victim rule) {
  Entry& entry = entries_[key];
  CHECK(entry.stage == Stage::kAbsent);
  SizeClass& wanted = class_of(key);
  while (used_bytes_ + wanted.slot_bytes > budget_bytes_ ||
         (wanted.free_slots.empty() && wanted.used_slots == wanted.capacity)) {
    const ExpertKey victim =
        rule == Victim::kLeastUsed
            ? policy_.victim()
            : policy_.victim_for(layer_of(key), layer_bytes_, layer_share_bytes_);
    if (victim < 0) return std::nullopt;
    policy_.remove(victim);
    --resident_;
    give_back(victim, &class_of(victim) == &wanted);
  }
  if (wanted.free_slots.empty()) {
    entry.slot = wanted.used_slots++;
  } else {
    entry.slot = wanted.free_slots.back();
    wanted.free_slots.pop_back();
  }
  used_bytes_ += wanted.slot_bytes;
  layer_bytes_[layer_of(key)] += wanted.slot_bytes;
  entry.stage = Stage::kReserved;
  entry.pins = 1;
  return ExpertPin(this, key);
}

ExpertMap ExpertCache::map() const {
  ExpertMap map;
  map.experts = index_.experts();
  for (size_t layer = 0; layer < class_index_.size(); ++layer) {
    if (class_index_[layer] < 0) continue;
    ++map.layers;
    for (int e = 0; e < map.experts; ++e) {
      const ExpertKey key = index_.key(static_cast<int>(layer), e);
      map.entries.push_back(
          {holds(key), static_cast<float>(policy_.use(key)), finds_[key].hits, finds_[key].misses});
    }
  }
  return map;
}

void ExpertCache::give_back(ExpertKey key, bool keep_memory) {
  SizeClass& c = class_of(key);
  Entry& entry = entries_[key];
  if (!keep_memory) {
    c.memory.discard(c.slot_bytes * static_cast<size_t>(entry.slot), c.slot_bytes);
  }
  c.free_slots.push_back(entry.slot);
  used_bytes_ -= c.slot_bytes;
  layer_bytes_[layer_of(key)] -= c.slot_bytes;
  entry = {};
}

void ExpertCache::unpin(ExpertKey key) {
  Entry& entry = entries_[key];
  CHECK(entry.pins > 0);
  if (--entry.pins > 0) return;
  if (entry.stage == Stage::kReserved) {
    give_back(key, true);
  } else {
    policy_.add(key);
  }
}

}  // namespace flashmoe::experts
