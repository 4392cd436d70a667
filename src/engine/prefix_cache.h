// States to go back to: snapshots of sessions at lengths that other requests may begin with, in
// memory and, if wanted, on disk. Owns the snapshots and the budget they keep to
// (MemoryPlan::prefix_cache); the least recently used go first. The engine's thread alone calls.
//
// A snapshot shares its full pages with sessions and other snapshots; a page counts once. While one
// is written to disk, from where it lies, it stays.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <list>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <unordered_map>
#include <vector>

#include "engine/engine_parts.h"
#include "engine/prefix_store.h"
#include "flashmoe/engine.h"

namespace flashmoe::engine {

struct PrefixCacheStats {
  int64_t snapshots = 0;  // in memory
  uint64_t memory_bytes = 0;
  int64_t lookups = 0;
  int64_t memory_hits = 0, disk_hits = 0;
  int64_t hit_tokens = 0;
};

class PrefixCache {
 public:
  // `folder` may be empty: nothing is kept on disk. The engine must outlive the cache. Throws
  // Error.
  PrefixCache(Engine& engine, const std::string& folder, uint64_t folder_bytes);
  ~PrefixCache();

  // A state on its way from disk into a session, which must not be touched meanwhile.
  struct Load {
    std::vector<int32_t> tokens;
    PrefixStore::Outcome outcome;
    std::atomic<bool> arrived{false};
  };

  // Brings a session to the longest known state that a run of `tokens` can go on from: a proper
  // prefix of them, or all of them with logits. It holds as many tokens then; none if there is no
  // such state. If a longer one is on disk, that is begun to be read instead: the Load is returned,
  // and `arrived` called on another thread when finish_load is due.
  std::unique_ptr<Load> restore(Session& session, std::span<const int32_t> tokens,
                                std::function<void()> arrived);
  // Makes what has arrived the session's state, or, if it was damaged, leaves it empty; then
  // restore can be asked again.
  void finish_load(Session& session, Load& load) noexcept;

  // Keeps the session's state as it is now, if it fits and is not kept already. Throws Error when
  // the system has no memory for it.
  void keep(Session& session);

  PrefixCacheStats stats() const;
  PrefixStoreStats disk_stats() const;  // for any thread

 private:
  struct Entry {
    Entry(std::vector<int32_t> of, SessionSnapshot taken, uint64_t bytes, bool with_logits)
        : tokens(std::move(of)),
          snapshot(std::move(taken)),
          own_bytes(bytes),
          has_logits(with_logits) {}
    std::vector<int32_t> tokens;
    SessionSnapshot snapshot;
    uint64_t own_bytes;  // but for its pages
    bool has_logits;
    std::atomic<bool> being_written{false};
  };
  using Entries = std::list<Entry>;  // most recently used first

  Entry* find(std::span<const int32_t> tokens);
  void hold(std::span<const int> pages);
  void release(std::span<const int> pages);
  bool make_room();
  void drop(Entries::iterator entry);
  void write(Entry& entry);

  Engine& engine_;
  const uint64_t budget_bytes_;
  const uint64_t page_bytes_;
  Entries entries_;
  std::unordered_map<int, int> page_holders_;  // page -> entries that have it
  PrefixCacheStats stats_;
  std::unique_ptr<PrefixStore> store_;  // its threads end before the entries they read
};

}  // namespace flashmoe::engine
