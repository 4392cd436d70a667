// Brings experts from disk into a ring of staging buffers, many at once, in whatever order the
// disk answers. Owns the buffers and the bookkeeping of reads in flight; asks again after a short
// read, and turns a failed one into an Error with path and offset. Unpacks and checks records.
#pragma once

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "base/aligned_buffer.h"
#include "experts/expert_index.h"
#include "io/file.h"
#include "io/read_queue.h"

namespace flashmoe::experts {

class ExpertLoader {
 public:
  // files[i] is the checkpoint's file i, whole[i] its records where these have to be unpacked or
  // are to be checked. index, files, whole and queue must outlive the loader.
  ExpertLoader(const ExpertIndex& index, std::span<const io::File> files, io::ReadQueue& queue,
               int buffers, WholeRecords whole = {});
  ~ExpertLoader();
  // Memory of one staging buffer when reads must be aligned to `alignment`.
  static size_t buffer_bytes(const ExpertIndex& index, size_t alignment, WholeRecords whole = {});

  // An expert in its file's layout; valid until `release`.
  struct Loaded {
    ExpertKey key;
    int buffer;
    const std::byte* memory;  // of the whole buffer
    std::array<kernels::FileMatrix, 3> gate_up_down;
  };

  bool can_start() const { return !free_buffers_.empty(); }
  void start(ExpertKey key);
  int in_flight() const { return in_flight_; }  // experts started and not yet returned
  // The next expert that is complete; at least one must be in flight. Throws when a read fails or
  // a record is damaged; call `drain` before going on.
  Loaded wait();
  bool has_complete();  // `wait` would not wait
  void release(const Loaded& loaded);
  // Instead of `release`: what was loaded stays in its memory, which is the caller's from now on,
  // and the ring has `memory` for it, of buffer_bytes() bytes and aligned as they are.
  std::byte* exchange(const Loaded& loaded, std::byte* memory);
  size_t buffer_bytes() const { return staging_bytes_; }
  // Waits for all reads in flight and forgets them.
  void drain() noexcept;

  uint64_t read_bytes() const { return read_bytes_; }
  double busy_s() const { return busy_s_; }  // time in which an expert was in flight

 private:
  using Clock = std::chrono::steady_clock;

  struct Staging {
    std::byte* memory = nullptr;
    ExpertKey key = -1;
    int reads_left = 0;
    ExpertReads plan;
    std::array<size_t, kParts> done_bytes{};  // of each read
  };

  std::byte* staging_data(int buffer) { return staging_[buffer].memory; }
  void submit(int buffer, int read);
  void complete(const io::ReadCompletion& completion);
  void finish_records(int buffer);
  void check_orders(const Loaded& loaded) const;

  const ExpertIndex& index_;
  std::span<const io::File> files_;
  io::ReadQueue& queue_;
  WholeRecords whole_;
  size_t alignment_ = 1;
  size_t staging_bytes_ = 0;  // of one buffer
  AlignedBuffer memory_;
  std::vector<Staging> staging_;
  std::vector<int> free_buffers_;
  std::vector<int> complete_;  // buffers whose experts are complete and not yet returned
  int in_flight_ = 0;
  uint64_t read_bytes_ = 0;
  double busy_s_ = 0;
  Clock::time_point busy_since_;
};

}  // namespace flashmoe::experts
