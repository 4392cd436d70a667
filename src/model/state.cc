#include "model/state.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "base/check.h"
#include "base/error.h"

namespace flashmoe::model {

StateShape::StateShape(const ModelConfig& config, kernels::KvType kv_type)
    : attention_layers(config.attention_layers()), delta_layers(config.delta_layers()) {
  const ModelConfig::Attention& a = config.attention;
  attention = {a.heads, a.kv_heads, a.head_dim, a.rotary_dim, config.rms_eps, kv_type};
  const ModelConfig::DeltaNet& d = config.delta;
  delta = {d.key_heads,  d.value_heads,  d.key_dim, d.value_dim,
           d.conv_width, config.rms_eps, d.tiled};
}

int PagePool::acquire() {
  int page;
  if (!free_.empty()) {
    page = free_.back();
    pages_[page] = AlignedBuffer(page_bytes_);
    free_.pop_back();
  } else if (static_cast<int>(pages_.size()) < max_pages_) {
    page = static_cast<int>(pages_.size());
    holders_.resize(pages_.size() + 1);
    free_.reserve(pages_.size() + 1);  // so that `release` allocates nothing
    pages_.emplace_back(page_bytes_);
  } else {
    throw_error(ErrorCode::kMemory,
                "the key-value cache is full: its {} pages hold {} tokens; raise --context or "
                "shorten the conversation",
                max_pages_, int64_t{max_pages_} * kernels::kPageTokens);
  }
  holders_[page] = 1;
  return page;
}

void PagePool::release(int page) {
  if (--holders_[page] > 0) return;
  pages_[page] = AlignedBuffer();
  free_.push_back(page);
}

PageList::PageList(const PageList& other) : pool_(other.pool_), pages_(other.pages_) {
  for (int page : pages_) pool_->share(page);
}

PageList& PageList::operator=(PageList other) noexcept {
  std::swap(pool_, other.pool_);
  std::swap(pages_, other.pages_);
  return *this;
}

PageList::~PageList() { truncate(0); }

void PageList::make_exclusive(int index) {
  const int shared = pages_[index];
  if (pool_->exclusive(shared)) return;
  const int copy = pool_->acquire();
  std::memcpy(pool_->data(copy), pool_->data(shared), pool_->page_bytes());
  pool_->release(shared);
  pages_[index] = copy;
}

void PageList::truncate(int size) {
  for (; static_cast<int>(pages_.size()) > size; pages_.pop_back()) pool_->release(pages_.back());
}

State::State(const StateShape& shape, PagePool& pool)
    : shape_(shape),
      pages_(pool),
      current_(shape.recurrent_bytes()),
      next_(shape.recurrent_bytes()) {}

void State::clear() {
  pages_.truncate(0);
  length_ = 0;
  if (current_.bytes() > 0) std::memset(current_.data(), 0, current_.bytes());
}

Snapshot State::snapshot() const {
  AlignedBuffer copy(current_.bytes());
  if (copy.bytes() > 0) std::memcpy(copy.data(), current_.data(), copy.bytes());
  PageList pages = pages_;
  pages.truncate(shape_.pages_for(length_));
  return Snapshot(length_, std::move(pages), std::move(copy));
}

void State::restore(const Snapshot& snapshot) {
  CHECK(snapshot.recurrent_.bytes() == current_.bytes());
  pages_ = snapshot.pages_;
  length_ = snapshot.length_;
  if (current_.bytes() > 0) {
    std::memcpy(current_.data(), snapshot.recurrent_.data(), current_.bytes());
  }
}

State::Contents State::make_room(int64_t length) {
  clear();
  reserve(length);
  Contents contents;
  for (int i = 0; i < pages_.size(); ++i) {
    contents.pages.push_back({pages_.data(i), pages_.page_bytes()});
  }
  contents.recurrent = next_.span();
  return contents;
}

void State::adopt(int64_t length) {
  CHECK(length_ == 0 && pages_.size() == shape_.pages_for(length));
  commit(length);
}

void State::repeat_pages(int64_t length) {
  const int held = shape_.pages_for(length_);
  CHECK(length_ > 0 && length_ % kernels::kPageTokens == 0 && length >= length_);
  reserve(length - length_);
  for (int i = held; i < pages_.size(); ++i) {
    std::memcpy(pages_.data(i), pages_.data(i % held), pages_.page_bytes());
  }
  length_ = length;
}

void State::reserve(int64_t tokens) {
  const int needed = shape_.pages_for(length_ + tokens);
  // The page that the sequence ends in may belong to a snapshot too.
  if (length_ % kernels::kPageTokens != 0 && pages_.size() > 0) {
    pages_.make_exclusive(static_cast<int>(length_ / kernels::kPageTokens));
  }
  while (pages_.size() < needed) pages_.append();
}

void State::commit(int64_t tokens) {
  length_ += tokens;
  std::swap(current_, next_);
}

const std::vector<std::byte*>& State::pages(int layer) {
  layer_pages_.resize(static_cast<size_t>(pages_.size()));
  const size_t offset = shape_.attention.page_bytes() * static_cast<size_t>(layer);
  for (int i = 0; i < pages_.size(); ++i) layer_pages_[i] = pages_.data(i) + offset;
  return layer_pages_;
}

kernels::DeltaNetSegment State::recurrent(int layer) {
  const int64_t conv = shape_.delta.conv_state_floats();
  const int64_t offset = layer * (conv + shape_.delta.state_floats());
  const float* in = reinterpret_cast<const float*>(current_.data()) + offset;
  float* out = reinterpret_cast<float*>(next_.data()) + offset;
  kernels::DeltaNetSegment segment;
  segment.conv_in = in;
  segment.state_in = in + conv;
  segment.conv_out = out;
  segment.state_out = out + conv;
  return segment;
}

}  // namespace flashmoe::model
