// Which experts are resident in host memory, within a fixed budget of bytes. Owns the slots'
// memory and decides what to evict; does not read, and does not know what a slot's bytes mean.
//
// Slots come in size classes, one for each size that some layer's experts have once prepared. All
// classes share the budget: a slot given up by one class makes room for another's.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "base/aligned_buffer.h"
#include "experts/eviction_policy.h"
#include "experts/expert_index.h"
#include "experts/expert_map.h"

namespace flashmoe::experts {

class ExpertCache;

// A hold on a slot: while it lives the expert stays where it is. From `reserve` the slot is empty
// until `publish`; if that never comes, the slot is given back.
class ExpertPin {
 public:
  ExpertPin(ExpertPin&& other) noexcept : cache_(other.cache_), key_(other.key_) {
    other.cache_ = nullptr;
  }
  ExpertPin& operator=(ExpertPin&& other) noexcept {
    std::swap(cache_, other.cache_);
    std::swap(key_, other.key_);
    return *this;
  }
  ~ExpertPin();

  ExpertKey key() const { return key_; }
  std::byte* data() const;
  // An empty slot's memory for other memory of common_slot_bytes, aligned to pages. Whose it was
  // must keep it as long as the cache lives.
  std::byte* exchange(std::byte* memory);
  void publish();  // the slot now holds the expert

 private:
  friend class ExpertCache;
  ExpertPin(ExpertCache* cache, ExpertKey key) : cache_(cache), key_(key) {}
  ExpertCache* cache_;
  ExpertKey key_;
};

class ExpertCache {
 public:
  // What a slot for an expert of `bytes` prepared bytes takes of the budget.
  static size_t slot_size(size_t bytes);

  // slot_bytes[layer]: bytes of a prepared expert of the layer, 0 where there are none.
  ExpertCache(const ExpertIndex& index, std::vector<size_t> slot_bytes, size_t budget_bytes);

  // A step begins; then each expert that it uses is counted (see EvictionPolicy).
  void begin_step(int64_t tokens) { policy_.advance(tokens); }
  void visit(ExpertKey key, std::span<const int32_t> ages) { policy_.visit(key, ages); }

  bool holds(ExpertKey key) const { return entries_[key].stage == Stage::kResident; }
  // The expert, if it is resident: a hit, else a miss.
  std::optional<ExpertPin> find(ExpertKey key);
  // Whose expert makes room: the least used of all, or, in a step that uses nearly all experts of
  // each layer in turn, one of a layer that has its share of the budget.
  enum class Victim { kLeastUsed, kOfFullLayer };
  // An empty slot for an expert that is not resident, evicting others as needed; nullopt when
  // what is not pinned does not suffice.
  std::optional<ExpertPin> reserve(ExpertKey key, Victim victim = Victim::kLeastUsed);

  // Bytes of every slot, where all are alike and so keep their memory; else 0.
  size_t common_slot_bytes() const { return classes_.size() == 1 ? classes_[0].slot_bytes : 0; }
  size_t budget_bytes() const { return budget_bytes_; }
  size_t resident_bytes() const { return used_bytes_; }
  int64_t resident_experts() const { return resident_; }
  ExpertMap map() const;

 private:
  friend class ExpertPin;
  struct SizeClass {
    size_t slot_bytes = 0;
    AlignedBuffer memory;  // room for all the slots that the budget or the model allows
    std::vector<std::byte*> slots;
    int used_slots = 0;  // slots handed out so far; the memory behind them is untouched
    int capacity = 0;
    std::vector<int> free_slots;
  };
  enum class Stage : uint8_t { kAbsent, kReserved, kResident };
  struct Entry {
    Stage stage = Stage::kAbsent;
    int pins = 0;
    int slot = -1;
  };

  int layer_of(ExpertKey key) const { return key / index_.experts(); }
  SizeClass& class_of(ExpertKey key) { return classes_[class_index_[layer_of(key)]]; }
  std::byte*& slot(ExpertKey key) { return class_of(key).slots[entries_[key].slot]; }
  void give_back(ExpertKey key, bool keep_memory);
  void unpin(ExpertKey key);

  const ExpertIndex& index_;
  size_t budget_bytes_;
  size_t used_bytes_ = 0;
  std::vector<uint64_t> layer_bytes_;  // of used_bytes_
  uint64_t layer_share_bytes_ = 0;     // of the budget
  int64_t resident_ = 0;
  std::vector<SizeClass> classes_;
  std::vector<int> class_index_;  // layer -> class
  std::vector<Entry> entries_;
  struct Finds {
    int64_t hits = 0, misses = 0;
  };
  std::vector<Finds> finds_;
  EvictionPolicy policy_;
};

}  // namespace flashmoe::experts
