#include "engine/prefix_cache.h"

#include <algorithm>
#include <iterator>
#include <utility>

#include "base/check.h"
#include "base/error.h"
#include "engine/state_identity.h"

namespace flashmoe::engine {

namespace {

// Shorter ones are run again sooner than read.
constexpr size_t kLeastTokensOnDisk = 64;

}  // namespace

PrefixCache::PrefixCache(Engine& engine, const std::string& folder, uint64_t folder_bytes)
    : engine_(engine),
      budget_bytes_(engine.plan().prefix_cache),
      page_bytes_(EngineAccess::parts(engine).state_shape.page_bytes()) {
  if (folder.empty()) return;
  if (budget_bytes_ == 0) {
    throw Error(ErrorCode::kUsage,
                "prompts are cached on disk from memory: give the prefix cache some");
  }
  const Engine::Parts& parts = EngineAccess::parts(engine);
  store_ = std::make_unique<PrefixStore>(
      folder, folder_bytes, state_identity(parts),
      PrefixStore::Shape{kernels::kPageTokens, page_bytes_, parts.state_shape.recurrent_bytes(),
                         static_cast<uint64_t>(engine.vocab()) * sizeof(float)});
}

PrefixCache::~PrefixCache() { store_.reset(); }

PrefixCache::Entry* PrefixCache::find(std::span<const int32_t> tokens) {
  auto best = entries_.end();
  for (auto it = entries_.begin(); it != entries_.end(); ++it) {
    const size_t length = it->tokens.size();
    if (length > tokens.size() || (length == tokens.size() && !it->has_logits)) continue;
    if (best != entries_.end() && length <= best->tokens.size()) continue;
    if (std::equal(it->tokens.begin(), it->tokens.end(), tokens.begin())) best = it;
  }
  if (best == entries_.end()) return nullptr;
  entries_.splice(entries_.begin(), entries_, best);
  return &entries_.front();
}

std::unique_ptr<PrefixCache::Load> PrefixCache::restore(Session& session,
                                                        std::span<const int32_t> tokens,
                                                        std::function<void()> arrived) {
  ++stats_.lookups;
  session.clear();
  Entry* entry = find(tokens);
  const size_t in_memory = entry == nullptr ? 0 : entry->tokens.size();
  const size_t on_disk = store_ == nullptr ? 0 : static_cast<size_t>(store_->find(tokens));
  if (on_disk <= in_memory) {
    if (entry == nullptr) return nullptr;
    session.restore(entry->snapshot);
    ++stats_.memory_hits;
    stats_.hit_tokens += static_cast<int64_t>(in_memory);
    return nullptr;
  }
  auto load = std::make_unique<Load>();
  load->tokens.assign(tokens.begin(), tokens.begin() + static_cast<std::ptrdiff_t>(on_disk));
  auto& parts = EngineAccess::parts(session);
  model::State::Contents room = parts.state.make_room(static_cast<int64_t>(on_disk));
  store_->read(
      load->tokens,
      {std::move(room.pages), room.recurrent, std::as_writable_bytes(std::span(parts.logits))},
      [raw = load.get(), arrived = std::move(arrived)](PrefixStore::Outcome outcome) {
        raw->outcome = outcome;
        raw->arrived = true;
        arrived();
      });
  return load;
}

void PrefixCache::finish_load(Session& session, Load& load) noexcept {
  CHECK(load.arrived);
  if (!load.outcome.good) {
    session.clear();
    return;
  }
  auto& parts = EngineAccess::parts(session);
  parts.state.adopt(static_cast<int64_t>(load.tokens.size()));
  parts.tokens.swap(load.tokens);  // allocates nothing
  parts.has_logits = load.outcome.has_logits;
  ++stats_.disk_hits;
  stats_.hit_tokens += static_cast<int64_t>(parts.tokens.size());
}

void PrefixCache::keep(Session& session) {
  const std::vector<int32_t>& tokens = session.tokens();
  if (tokens.empty() || budget_bytes_ == 0) return;
  for (auto it = entries_.begin(); it != entries_.end(); ++it) {
    if (it->tokens != tokens) continue;
    if (it->has_logits || !session.has_logits() || it->being_written) {
      entries_.splice(entries_.begin(), entries_, it);
      return;
    }
    drop(it);  // for the one with logits
    break;
  }
  const auto& parts = EngineAccess::parts(session);
  // A step that was stopped may have left the session with pages beyond its end.
  const int page_count = EngineAccess::parts(engine_).state_shape.pages_for(parts.state.length());
  const std::span<const int> pages =
      std::span(parts.state.page_list().ids()).first(static_cast<size_t>(page_count));
  const uint64_t own_bytes = parts.state.recurrent_bytes() + 2 * tokens.size() * sizeof(int32_t) +
                             (session.has_logits() ? parts.logits.size() * sizeof(float) : 0);
  if (own_bytes + pages.size() * page_bytes_ > budget_bytes_) return;
  // Counted before room is made: what goes may share pages with what comes.
  hold(pages);
  stats_.memory_bytes += own_bytes;
  const auto undo = [&] {
    stats_.memory_bytes -= own_bytes;
    release(pages);
  };
  if (!make_room()) {
    undo();
    return;
  }
  try {
    entries_.emplace_front(tokens, session.snapshot(), own_bytes, session.has_logits());
  } catch (...) {
    undo();
    throw;
  }
  Entry& entry = entries_.front();
  if (store_ != nullptr && tokens.size() >= kLeastTokensOnDisk && !store_->holds(tokens)) {
    write(entry);
  }
}

void PrefixCache::hold(std::span<const int> pages) {
  size_t held = 0;
  try {
    for (; held < pages.size(); ++held) {
      if (page_holders_[pages[held]]++ == 0) stats_.memory_bytes += page_bytes_;
    }
  } catch (...) {
    release(pages.first(held));
    throw;
  }
}

void PrefixCache::release(std::span<const int> pages) {
  for (const int page : pages) {
    const auto holders = page_holders_.find(page);
    if (--holders->second > 0) continue;
    page_holders_.erase(holders);
    stats_.memory_bytes -= page_bytes_;
  }
}

// Drops entries, the least recently used first, until what is counted fits the budget.
bool PrefixCache::make_room() {
  for (auto it = entries_.end(); stats_.memory_bytes > budget_bytes_;) {
    if (it == entries_.begin()) return false;
    --it;
    if (it->being_written) continue;
    const auto victim = it++;
    drop(victim);
  }
  return true;
}

void PrefixCache::drop(Entries::iterator entry) {
  CHECK(!entry->being_written);
  stats_.memory_bytes -= entry->own_bytes;
  release(EngineAccess::parts(entry->snapshot).state.pages().ids());
  entries_.erase(entry);
}

void PrefixCache::write(Entry& entry) {
  const auto& parts = EngineAccess::parts(entry.snapshot);
  PrefixStore::Source source;
  source.tokens = entry.tokens;
  const model::PageList& pages = parts.state.pages();
  for (int i = 0; i < pages.size(); ++i) source.pages.push_back({pages.data(i), page_bytes_});
  source.recurrent = parts.state.recurrent();
  source.logits = std::as_bytes(std::span(parts.logits));
  entry.being_written = true;
  try {
    store_->write(std::move(source), [&entry] { entry.being_written = false; });
  } catch (...) {
    entry.being_written = false;
    throw;
  }
}

PrefixCacheStats PrefixCache::stats() const {
  PrefixCacheStats stats = stats_;
  stats.snapshots = static_cast<int64_t>(entries_.size());
  return stats;
}

PrefixStoreStats PrefixCache::disk_stats() const {
  return store_ == nullptr ? PrefixStoreStats() : store_->stats();
}

}  // namespace flashmoe::engine
