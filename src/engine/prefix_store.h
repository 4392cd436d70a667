// States of prompts on disk. Owns a folder of files (see prefix_file.h), the index of what is in it
// and the threads that read and write it; the memory that states are copied from and to is the
// caller's. Knows bytes, no sessions.
//
// States share the files of their full pages. Every file appears whole or not at all, and a state's
// file after those of its pages; so whatever ends the program, what the folder then lists is whole.
// What is damaged nevertheless is dropped, counted and never used. Files of other models are kept
// until their turn to be dropped, and not read. Any thread may call.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <thread>
#include <vector>

#include "engine/digest.h"
#include "engine/prefix_file.h"

namespace flashmoe::engine {

struct PrefixStoreStats {
  int64_t states = 0;  // on disk, of this model
  uint64_t bytes = 0;  // of all files
  uint64_t written_bytes = 0, read_bytes = 0;
  int64_t damaged = 0;  // files dropped because of what they held
  int64_t failed_writes = 0;
};

class PrefixStore {
 public:
  // Sizes of a state's parts.
  struct Shape {
    int64_t page_tokens = 256;
    uint64_t page_bytes = 0;
    uint64_t recurrent_bytes = 0;
    uint64_t logits_bytes = 0;
  };

  // Makes the folder if need be, and drops what is damaged or incomplete in it, and what is oldest
  // beyond `max_bytes`. Throws Error kIo, also when another process uses the folder.
  PrefixStore(std::string folder, uint64_t max_bytes, const Digest& model, const Shape& shape);
  ~PrefixStore();  // finishes what was asked for
  PrefixStore(const PrefixStore&) = delete;
  PrefixStore& operator=(const PrefixStore&) = delete;

  // The length of the longest state whose tokens `tokens` begins with; 0: none. A state of all of
  // `tokens` counts only if it has logits.
  int64_t find(std::span<const int32_t> tokens) const;
  bool holds(std::span<const int32_t> tokens) const;  // exactly these

  struct Source {
    std::vector<int32_t> tokens;
    std::vector<std::span<const std::byte>> pages;
    std::span<const std::byte> recurrent, logits;  // logits may be empty
  };
  // Writes a state, unless there is one of these tokens or it is larger than the limit. `done` is
  // called on the store's thread; until then the memory must not change.
  void write(Source source, std::function<void()> done);

  struct Target {
    std::vector<std::span<std::byte>> pages;
    std::span<std::byte> recurrent, logits;
  };
  struct Outcome {
    bool good = false;  // if not, the target's contents are undefined
    bool has_logits = false;
  };
  // Reads the state of `tokens` (exactly). `done` is called on the store's thread.
  void read(std::vector<int32_t> tokens, Target target, std::function<void(Outcome)> done);

  PrefixStoreStats stats() const;

 private:
  // Does one job after another.
  class Worker {
   public:
    Worker() : thread_([this] { work(); }) {}
    ~Worker();
    void add(std::function<void()> job);

   private:
    void work() noexcept;
    std::mutex mutex_;
    std::condition_variable wake_;
    std::deque<std::function<void()>> jobs_;
    bool closed_ = false;
    std::thread thread_;
  };
  struct Entry {
    Digest key;
    Digest model;
    std::vector<int32_t> tokens;
    std::vector<Digest> pages;  // full ones
    uint64_t file_bytes = 0;
    bool has_logits = false;
    int64_t last_use = 0;  // of the file's clock
    int readers = 0;
  };
  struct Page {
    uint64_t file_bytes = 0;
    int states = 0;  // that it belongs to, also one that is being written
    bool there = false;
  };

  // Unlocked: only the constructor, the writer and the reader call these.
  void scan();
  void scan_state(const std::string& path);
  void write_now(const Source& source);
  Outcome read_state(const Digest& key, const Target& target);
  Outcome read_now(const Entry& entry, const Target& target);
  void write_file(const PrefixFileHeader& header, std::span<const int32_t> tokens,
                  std::span<const std::span<const std::byte>> payload, const std::string& path);
  bool read_file(const std::string& path, PrefixFileKind kind, const Digest& prefix,
                 std::span<const std::span<std::byte>> payload);
  // Locked.
  std::vector<Digest> page_keys(const Digest& model, std::span<const int32_t> tokens) const;
  void hold_pages(const Entry& entry);
  void release_pages(const Entry& entry);
  bool drop_oldest();
  void drop(const Digest& key);
  void touch(Entry& entry);

  std::string state_path(const Digest& key) const;
  std::string page_path(const Digest& key) const;

  const std::string folder_;
  const uint64_t max_bytes_;
  const Digest model_;
  const Shape shape_;
  int lock_fd_ = -1;

  mutable std::mutex mutex_;  // guards what follows
  std::map<Digest, Entry> entries_;
  std::map<Digest, Page> pages_;
  PrefixStoreStats stats_;

  std::unique_ptr<Worker> reader_, writer_;
};

}  // namespace flashmoe::engine
