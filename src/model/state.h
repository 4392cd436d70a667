// What a sequence remembers: key-value pages of its attention layers, and the convolution and
// delta states of its delta net layers. Owns that memory; computes nothing.
//
// A step writes behind the sequence's end and into the spare copy of the recurrent state;
// `commit` makes both valid. A step that is never committed leaves the sequence as it was.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "base/aligned_buffer.h"
#include "kernels/backend.h"
#include "model/config.h"

namespace flashmoe::model {

// Sizes of a sequence's memory. Pages hold kPageTokens positions of all attention layers.
struct StateShape {
  int attention_layers = 0;
  int delta_layers = 0;
  kernels::AttentionShape attention;
  kernels::DeltaNetShape delta;

  StateShape() = default;
  StateShape(const ModelConfig& config, kernels::KvType kv_type);

  size_t page_bytes() const {
    return attention.page_bytes() * static_cast<size_t>(attention_layers);
  }
  // Of one copy of all delta layers' states.
  size_t recurrent_bytes() const {
    return static_cast<size_t>(delta_layers * (delta.conv_state_floats() + delta.state_floats())) *
           sizeof(float);
  }
  // Pages that `tokens` positions take; none in a model without attention.
  int pages_for(int64_t tokens) const {
    if (attention_layers == 0) return 0;
    return static_cast<int>((tokens + kernels::kPageTokens - 1) / kernels::kPageTokens);
  }
};

// Counted pages that sequences and snapshots share. A page's memory is taken when it is acquired
// and given back with its last holder; there are at most max_pages at a time.
class PagePool {
 public:
  PagePool(size_t page_bytes, int max_pages) : page_bytes_(page_bytes), max_pages_(max_pages) {}

  int acquire();  // a page of one holder; Error kMemory when all are in use
  void share(int page) { ++holders_[page]; }
  void release(int page);
  bool exclusive(int page) const { return holders_[page] == 1; }
  std::byte* data(int page) { return pages_[page].data(); }
  size_t page_bytes() const { return page_bytes_; }
  int max_pages() const { return max_pages_; }

 private:
  size_t page_bytes_;
  int max_pages_;
  std::vector<AlignedBuffer> pages_;
  std::vector<int> holders_;
  std::vector<int> free_;
};

// References to pages of a pool, released on destruction.
class PageList {
 public:
  explicit PageList(PagePool& pool) : pool_(&pool) {}
  PageList(const PageList& other);  // shares the pages
  PageList& operator=(PageList other) noexcept;
  ~PageList();

  int size() const { return static_cast<int>(pages_.size()); }
  const std::vector<int>& ids() const { return pages_; }  // in the pool
  std::byte* data(int index) const { return pool_->data(pages_[index]); }
  size_t page_bytes() const { return pool_->page_bytes(); }
  void append() { pages_.push_back(pool_->acquire()); }
  // Makes the page the list's own, copying its contents if somebody shares it.
  void make_exclusive(int index);
  void truncate(int size);

 private:
  PagePool* pool_;
  std::vector<int> pages_;
};

// A sequence's state at some length, to go on from later. Full pages are shared with it.
class Snapshot {
 public:
  int64_t length() const { return length_; }
  const PageList& pages() const { return pages_; }  // nobody writes into them while it lives
  std::span<const std::byte> recurrent() const { return recurrent_.span(); }

 private:
  friend class State;
  Snapshot(int64_t length, PageList pages, AlignedBuffer recurrent)
      : length_(length), pages_(std::move(pages)), recurrent_(std::move(recurrent)) {}
  int64_t length_;
  PageList pages_;
  AlignedBuffer recurrent_;
};

class State {
 public:
  // `pool` must outlive the state and its snapshots.
  State(const StateShape& shape, PagePool& pool);

  int64_t length() const { return length_; }  // positions committed
  void clear();                               // back to length 0
  Snapshot snapshot() const;
  void restore(const Snapshot& snapshot);

  // For contents from elsewhere: clears the state, and gives the memory in which those of `length`
  // positions belong. It stays where it is until `adopt`, which makes them valid.
  struct Contents {
    std::vector<std::span<std::byte>> pages;
    std::span<std::byte> recurrent;
  };
  Contents make_room(int64_t length);
  void adopt(int64_t length);
  // For measuring what time a long sequence takes, which does not depend on what it holds: makes
  // the sequence, of whole pages so far, `length` positions long. Its pages come again and again;
  // the recurrent state stays.
  void repeat_pages(int64_t length);
  const PageList& page_list() const { return pages_; }
  size_t recurrent_bytes() const { return current_.bytes(); }

  // Makes room for `tokens` more positions; Error kMemory when the pool has no more pages.
  void reserve(int64_t tokens);
  // The reserved positions hold a step's results.
  void commit(int64_t tokens);

  // One attention layer's part of every page; valid until the next call. `layer` counts
  // attention layers only.
  const std::vector<std::byte*>& pages(int layer);
  // The step's view of one delta layer, counting delta layers only; rows are the caller's.
  kernels::DeltaNetSegment recurrent(int layer);

 private:
  StateShape shape_;
  PageList pages_;
  int64_t length_ = 0;
  AlignedBuffer current_, next_;  // per delta layer: convolution state, delta state
  std::vector<std::byte*> layer_pages_;
};

}  // namespace flashmoe::model
