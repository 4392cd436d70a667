#include "engine/prefix_store.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <utility>

#include "base/atomic_file.h"
#include "base/check.h"
#include "base/error.h"
#include "base/log.h"
#include "io/file.h"

namespace flashmoe::engine {

namespace {

namespace fs = std::filesystem;

constexpr std::string_view kStateSuffix = ".state", kPageSuffix = ".page";

int64_t clock_of(fs::file_time_type time) {
  return static_cast<int64_t>(time.time_since_epoch().count());
}

void remove_file(const std::string& path) {
  std::error_code ignored;
  fs::remove(path, ignored);
}

}  // namespace

PrefixStore::Worker::~Worker() {
  {
    const std::lock_guard lock(mutex_);
    closed_ = true;
    wake_.notify_all();
  }
  thread_.join();
}

void PrefixStore::Worker::add(std::function<void()> job) {
  const std::lock_guard lock(mutex_);
  jobs_.push_back(std::move(job));
  wake_.notify_all();
}

void PrefixStore::Worker::work() noexcept {
  for (;;) {
    std::function<void()> job;
    {
      std::unique_lock lock(mutex_);
      wake_.wait(lock, [&] { return closed_ || !jobs_.empty(); });
      if (jobs_.empty()) return;
      job = std::move(jobs_.front());
      jobs_.pop_front();
    }
    job();
  }
}

PrefixStore::PrefixStore(std::string folder, uint64_t max_bytes, const Digest& model,
                         const Shape& shape)
    : folder_(std::move(folder)), max_bytes_(max_bytes), model_(model), shape_(shape) {
  std::error_code error;
  fs::create_directories(folder_, error);
  if (error) throw_error(ErrorCode::kIo, "{}: cannot be made: {}", folder_, error.message());
  const std::string lock_path = folder_ + "/lock";
  lock_fd_ = open(lock_path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  if (lock_fd_ < 0) throw_error(ErrorCode::kIo, "{}: {}", lock_path, std::strerror(errno));
  if (flock(lock_fd_, LOCK_EX | LOCK_NB) != 0) {
    close(lock_fd_);
    throw_error(ErrorCode::kIo,
                "{}: another process uses this folder of cached prompts; name another one",
                folder_);
  }
  try {
    scan();
    reader_ = std::make_unique<Worker>();
    writer_ = std::make_unique<Worker>();
  } catch (...) {
    close(lock_fd_);
    throw;
  }
}

PrefixStore::~PrefixStore() {
  reader_.reset();
  writer_.reset();
  close(lock_fd_);
}

std::string PrefixStore::state_path(const Digest& key) const {
  return fmt::format("{}/{}{}", folder_, key.hex(), kStateSuffix);
}
std::string PrefixStore::page_path(const Digest& key) const {
  return fmt::format("{}/{}{}", folder_, key.hex(), kPageSuffix);
}

std::vector<Digest> PrefixStore::page_keys(const Digest& model,
                                           std::span<const int32_t> tokens) const {
  std::vector<Digest> keys;
  if (model == model_ && shape_.page_bytes == 0) return keys;
  const size_t page = static_cast<size_t>(shape_.page_tokens);
  DigestStream digest;  // as prefix_digest
  digest.add(model.low);
  digest.add(model.high);
  for (size_t end = page; end <= tokens.size(); end += page) {
    digest.add(std::as_bytes(tokens.subspan(end - page, page)));
    keys.push_back(digest.digest());
  }
  return keys;
}

// What is in the folder, less what is damaged, half there or belongs to nothing.
void PrefixStore::scan() {
  std::vector<std::string> states;
  std::error_code error;
  for (const fs::directory_entry& file : fs::directory_iterator(folder_, error)) {
    const std::string name = file.path().filename().string();
    std::error_code ignored;
    const uint64_t bytes = file.file_size(ignored);
    if (ignored) continue;
    if (name.starts_with('.') && name.ends_with(".partial")) {
      remove_file(file.path().string());
    } else if (name.ends_with(kStateSuffix)) {
      states.push_back(file.path().string());
    } else if (name.ends_with(kPageSuffix)) {
      Digest key;
      const std::string digits = name.substr(0, name.size() - kPageSuffix.size());
      if (digits.size() != 32 || digits.find_first_not_of("0123456789abcdef") != digits.npos) {
        continue;  // nothing of ours
      }
      key.high = std::stoull(digits.substr(0, 16), nullptr, 16);
      key.low = std::stoull(digits.substr(16), nullptr, 16);
      pages_[key] = {bytes, 0, true};
      stats_.bytes += bytes;
    }
  }
  if (error) throw_error(ErrorCode::kIo, "{}: {}", folder_, error.message());
  for (const std::string& path : states) scan_state(path);
  for (auto it = pages_.begin(); it != pages_.end();) {
    if (it->second.states > 0) {
      ++it;
      continue;
    }
    stats_.bytes -= it->second.file_bytes;
    remove_file(page_path(it->first));
    it = pages_.erase(it);
  }
  while (stats_.bytes > max_bytes_ && drop_oldest()) {
  }
}

void PrefixStore::scan_state(const std::string& path) {
  try {
    const io::File file(path);
    std::array<std::byte, kPrefixHeaderBytes> bytes{};
    std::optional<PrefixFileHeader> header;
    if (file.size() >= bytes.size()) {
      file.read_exact(0, bytes.size(), bytes.data());
      header = decode_prefix_header(bytes, file.size());
    }
    Entry entry;
    bool good = header && header->kind == PrefixFileKind::kState;
    if (good) {
      entry.key = header->prefix;
      entry.model = header->model;
      entry.file_bytes = file.size();
      entry.last_use = clock_of(fs::last_write_time(path));
      entry.tokens.resize(header->tokens);
      file.read_exact(kPrefixHeaderBytes, entry.tokens.size() * sizeof(int32_t),
                      reinterpret_cast<std::byte*>(entry.tokens.data()));
      good = prefix_digest(entry.model, entry.tokens) == entry.key && path == state_path(entry.key);
    }
    if (good && entry.model == model_) {
      entry.pages = page_keys(entry.model, entry.tokens);
      const bool partial = shape_.page_bytes > 0 &&
                           entry.tokens.size() % static_cast<size_t>(shape_.page_tokens) != 0;
      const uint64_t least = shape_.recurrent_bytes + (partial ? shape_.page_bytes : 0);
      entry.has_logits = header->payload_bytes == least + shape_.logits_bytes;
      good = entry.has_logits || header->payload_bytes == least;
      for (const Digest& page : entry.pages) good = good && pages_.contains(page);
    } else if (good) {
      // Another model's pages are known by their tokens too; it may have none.
      for (const Digest& page : page_keys(entry.model, entry.tokens)) {
        if (pages_.contains(page)) entry.pages.push_back(page);
      }
    }
    if (!good) {
      ++stats_.damaged;
      remove_file(path);
      return;
    }
    stats_.bytes += entry.file_bytes;
    if (entry.model == model_) ++stats_.states;
    hold_pages(entry);
    entries_[entry.key] = std::move(entry);
  } catch (const Error& error) {
    log_warn("{}; the cached prompt is not used", error.what());
  }
}

int64_t PrefixStore::find(std::span<const int32_t> tokens) const {
  const std::lock_guard lock(mutex_);
  size_t longest = 0;
  for (const auto& [key, entry] : entries_) {
    const size_t length = entry.tokens.size();
    if (entry.model != model_ || length <= longest || length > tokens.size() ||
        (length == tokens.size() && !entry.has_logits)) {
      continue;
    }
    if (std::equal(entry.tokens.begin(), entry.tokens.end(), tokens.begin())) longest = length;
  }
  return static_cast<int64_t>(longest);
}

bool PrefixStore::holds(std::span<const int32_t> tokens) const {
  const std::lock_guard lock(mutex_);
  return entries_.contains(prefix_digest(model_, tokens));
}

PrefixStoreStats PrefixStore::stats() const {
  const std::lock_guard lock(mutex_);
  return stats_;
}

void PrefixStore::hold_pages(const Entry& entry) {
  // All are there before the first is counted: this may run out of memory.
  for (const Digest& page : entry.pages) pages_.try_emplace(page);
  for (const Digest& page : entry.pages) ++pages_[page].states;
}

void PrefixStore::release_pages(const Entry& entry) {
  for (const Digest& key : entry.pages) {
    const auto it = pages_.find(key);
    CHECK(it != pages_.end());
    if (--it->second.states > 0) continue;
    if (it->second.there) {
      stats_.bytes -= it->second.file_bytes;
      remove_file(page_path(key));
    }
    pages_.erase(it);
  }
}

void PrefixStore::drop(const Digest& key) {
  const auto it = entries_.find(key);
  if (it == entries_.end()) return;
  // The state first: what is listed is whole.
  remove_file(state_path(key));
  stats_.bytes -= it->second.file_bytes;
  if (it->second.model == model_) --stats_.states;
  release_pages(it->second);
  entries_.erase(it);
}

bool PrefixStore::drop_oldest() {
  const Entry* oldest = nullptr;
  for (const auto& [key, entry] : entries_) {
    if (entry.readers > 0) continue;
    if (oldest == nullptr || entry.last_use < oldest->last_use) oldest = &entry;
  }
  if (oldest == nullptr) return false;
  drop(Digest(oldest->key));
  return true;
}

void PrefixStore::touch(Entry& entry) {
  const fs::file_time_type now = fs::file_time_type::clock::now();
  entry.last_use = clock_of(now);
  std::error_code ignored;
  fs::last_write_time(state_path(entry.key), now, ignored);
}

void PrefixStore::write(Source source, std::function<void()> done) {
  writer_->add([this, source = std::move(source), done = std::move(done)] {
    try {
      write_now(source);
    } catch (const std::exception& error) {
      log_warn("{}; the prompt is not cached on disk", error.what());
      const std::lock_guard lock(mutex_);
      ++stats_.failed_writes;
    }
    done();
  });
}

void PrefixStore::write_now(const Source& source) {
  Entry entry;
  entry.model = model_;
  entry.key = prefix_digest(model_, source.tokens);
  entry.tokens = source.tokens;
  entry.pages = page_keys(model_, source.tokens);
  entry.has_logits = !source.logits.empty();
  CHECK(source.pages.size() >= entry.pages.size());
  std::vector<std::span<const std::byte>> rest(
      source.pages.begin() + static_cast<std::ptrdiff_t>(entry.pages.size()), source.pages.end());
  rest.push_back(source.recurrent);
  rest.push_back(source.logits);
  PrefixFileHeader header{PrefixFileKind::kState, model_, entry.key, {}, entry.tokens.size(), 0};
  for (const std::span<const std::byte> part : rest) header.payload_bytes += part.size();
  entry.file_bytes = header.payload_offset() + header.payload_bytes;
  const uint64_t page_file_bytes = kPrefixHeaderBytes + shape_.page_bytes;
  if (entry.file_bytes + entry.pages.size() * page_file_bytes > max_bytes_) return;

  std::vector<size_t> missing;  // of the pages
  missing.reserve(entry.pages.size());
  {
    const std::lock_guard lock(mutex_);
    if (entries_.contains(entry.key)) return;
    hold_pages(entry);
    uint64_t needed = entry.file_bytes;
    for (size_t i = 0; i < entry.pages.size(); ++i) {
      if (pages_[entry.pages[i]].there) continue;
      missing.push_back(i);
      needed += page_file_bytes;
    }
    while (stats_.bytes + needed > max_bytes_ && drop_oldest()) {
    }
  }
  try {
    for (const size_t i : missing) {
      const PrefixFileHeader page{PrefixFileKind::kPage, model_, entry.pages[i], {}, 0,
                                  shape_.page_bytes};
      write_file(page, {}, {&source.pages[i], 1}, page_path(entry.pages[i]));
      const std::lock_guard lock(mutex_);
      pages_[entry.pages[i]].file_bytes = page_file_bytes;
      pages_[entry.pages[i]].there = true;
      stats_.bytes += page_file_bytes;
    }
    write_file(header, entry.tokens, rest, state_path(entry.key));
    const std::lock_guard lock(mutex_);
    Entry& added = entries_[entry.key];
    entry.last_use = clock_of(fs::file_time_type::clock::now());
    stats_.bytes += entry.file_bytes;
    ++stats_.states;
    added = std::move(entry);
  } catch (...) {
    const std::lock_guard lock(mutex_);
    release_pages(entry);
    throw;
  }
}

void PrefixStore::write_file(const PrefixFileHeader& header, std::span<const int32_t> tokens,
                             std::span<const std::span<const std::byte>> payload,
                             const std::string& path) {
  PrefixFileHeader whole = header;
  DigestStream digest;
  for (const std::span<const std::byte> part : payload) digest.add(part);
  whole.payload = digest.digest();
  std::array<std::byte, kPrefixHeaderBytes> bytes{};
  encode_prefix_header(whole, bytes);
  AtomicFile file(path);
  file.write(bytes);
  file.write(std::as_bytes(tokens));
  for (const std::span<const std::byte> part : payload) file.write(part);
  file.commit();
  const std::lock_guard lock(mutex_);
  stats_.written_bytes += file.written_bytes();
}

void PrefixStore::read(std::vector<int32_t> tokens, Target target,
                       std::function<void(Outcome)> done) {
  reader_->add(
      [this, tokens = std::move(tokens), target = std::move(target), done = std::move(done)] {
        Outcome outcome;
        try {
          outcome = read_state(prefix_digest(model_, tokens), target);
        } catch (const std::exception& error) {
          log_warn("{}; the cached prompt is not used", error.what());
        }
        done(outcome);
      });
}

PrefixStore::Outcome PrefixStore::read_state(const Digest& key, const Target& target) {
  Entry entry;
  {
    const std::lock_guard lock(mutex_);
    const auto it = entries_.find(key);
    if (it == entries_.end()) return {};
    entry = it->second;
    ++it->second.readers;
  }
  Outcome outcome;
  try {
    outcome = read_now(entry, target);
  } catch (const std::exception& error) {
    log_warn("{}; the cached prompt is not used", error.what());
  }
  const std::lock_guard lock(mutex_);
  Entry& held = entries_.at(key);
  --held.readers;
  if (outcome.good) {
    touch(held);
  } else {
    ++stats_.damaged;
    drop(key);
  }
  return outcome;
}

PrefixStore::Outcome PrefixStore::read_now(const Entry& entry, const Target& target) {
  std::vector<std::span<std::byte>> rest(
      target.pages.begin() + static_cast<std::ptrdiff_t>(entry.pages.size()), target.pages.end());
  rest.push_back(target.recurrent);
  if (entry.has_logits) rest.push_back(target.logits);
  for (size_t i = 0; i < entry.pages.size(); ++i) {
    if (!read_file(page_path(entry.pages[i]), PrefixFileKind::kPage, entry.pages[i],
                   {&target.pages[i], 1})) {
      // Whatever else has this page must not use it either, nor may the page be found again.
      const std::lock_guard lock(mutex_);
      std::vector<Digest> others;
      for (const auto& [key, other] : entries_) {
        if (key != entry.key && other.readers == 0 &&
            std::find(other.pages.begin(), other.pages.end(), entry.pages[i]) !=
                other.pages.end()) {
          others.push_back(key);
        }
      }
      for (const Digest& key : others) drop(key);
      return {};
    }
  }
  if (!read_file(state_path(entry.key), PrefixFileKind::kState, entry.key, rest)) return {};
  return {true, entry.has_logits};
}

bool PrefixStore::read_file(const std::string& path, PrefixFileKind kind, const Digest& prefix,
                            std::span<const std::span<std::byte>> payload) {
  const io::File file(path);
  std::array<std::byte, kPrefixHeaderBytes> bytes{};
  if (file.size() < bytes.size()) return false;
  file.read_exact(0, bytes.size(), bytes.data());
  const std::optional<PrefixFileHeader> header = decode_prefix_header(bytes, file.size());
  uint64_t wanted_bytes = 0;
  for (const std::span<std::byte> part : payload) wanted_bytes += part.size();
  if (!header || header->kind != kind || header->model != model_ || header->prefix != prefix ||
      header->payload_bytes != wanted_bytes) {
    return false;
  }
  uint64_t offset = header->payload_offset();
  DigestStream digest;
  for (const std::span<std::byte> part : payload) {
    if (part.empty()) continue;
    file.read_exact(offset, part.size(), part.data());
    digest.add(part);
    offset += part.size();
  }
  const std::lock_guard lock(mutex_);
  stats_.read_bytes += offset;
  return digest.digest() == header->payload;
}

}  // namespace flashmoe::engine
