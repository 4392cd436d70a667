#include "experts/expert_loader.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "base/check.h"
#include "base/error.h"

namespace flashmoe::experts {

ExpertLoader::ExpertLoader(const ExpertIndex& index, std::span<const io::File> files,
                           io::ReadQueue& queue, int buffers, WholeRecords whole)
    : index_(index),
      files_(files),
      queue_(queue),
      whole_(whole),
      staging_(static_cast<size_t>(buffers)) {
  for (const io::File& file : files) alignment_ = std::max(alignment_, file.alignment());
  staging_bytes_ = buffer_bytes(index, alignment_, whole_);
  memory_ = AlignedBuffer(staging_bytes_ * static_cast<size_t>(buffers));
  std::vector<std::span<std::byte>> spans;
  for (int b = buffers - 1; b >= 0; --b) {
    free_buffers_.push_back(b);
    staging_[b].memory = memory_.data() + staging_bytes_ * static_cast<size_t>(b);
    spans.push_back({staging_data(b), staging_bytes_});
  }
  queue_.register_buffers(spans);
}

ExpertLoader::~ExpertLoader() {
  drain();
  queue_.register_buffers({});
}

size_t ExpertLoader::buffer_bytes(const ExpertIndex& index, size_t alignment, WholeRecords whole) {
  const size_t place = std::max<size_t>(alignment, 4096);
  return (index.staging_bytes(alignment, whole) + place - 1) / place * place;
}

void ExpertLoader::start(ExpertKey key) {
  CHECK(can_start());
  const int buffer = free_buffers_.back();
  free_buffers_.pop_back();
  Staging& staging = staging_[buffer];
  staging = {staging.memory, key, 0, index_.reads(key, alignment_, whole_), {}};
  staging.reads_left = staging.plan.count;
  if (in_flight_++ == 0) busy_since_ = Clock::now();
  for (int r = 0; r < staging.plan.count; ++r) submit(buffer, r);
}

// Queues a read, or what is left of it after a short one.
void ExpertLoader::submit(int buffer, int read) {
  const Staging& staging = staging_[buffer];
  const ExpertReads::Read& plan = staging.plan.reads[read];
  const size_t done = staging.done_bytes[read];
  const io::ReadRequest request{&files_[plan.file], plan.offset + done, plan.bytes - done,
                                staging_data(buffer) + plan.staging_offset + done,
                                static_cast<uint64_t>(buffer * kParts + read)};
  queue_.submit({&request, 1});
}

void ExpertLoader::complete(const io::ReadCompletion& completion) {
  const int buffer = static_cast<int>(completion.tag) / kParts;
  const int read = static_cast<int>(completion.tag) % kParts;
  Staging& staging = staging_[buffer];
  const ExpertReads::Read& plan = staging.plan.reads[read];
  const io::File& file = files_[plan.file];
  size_t& done = staging.done_bytes[read];
  if (completion.error != 0) {
    throw_error(ErrorCode::kIo, "{}: cannot read {} bytes at offset {}: {}", file.path(),
                plan.bytes - done, plan.offset + done, std::strerror(completion.error));
  }
  read_bytes_ += completion.bytes;
  const size_t reached = done + completion.bytes;
  if (reached < plan.needed_bytes) {
    // A direct read goes on at an aligned offset; where that is no progress, the file has ended.
    const size_t next = reached / alignment_ * alignment_;
    if (next == done) {
      throw_error(ErrorCode::kIo, "{}: the file ends at offset {}, {} bytes before the expert does",
                  file.path(), plan.offset + reached, plan.needed_bytes - reached);
    }
    done = next;
    submit(buffer, read);
    return;
  }
  if (--staging.reads_left == 0) complete_.push_back(buffer);
}

// From what was read to the content of its records.
void ExpertLoader::finish_records(int buffer) {
  const ExpertReads& plan = staging_[buffer].plan;
  for (int r = 0; r < plan.count; ++r) {
    const ExpertReads::Read& read = plan.reads[r];
    if (read.records == nullptr) continue;
    const format::FileRecords& records = *read.records;
    const std::string& path = files_[read.file].path();
    std::byte* content = staging_data(buffer) + read.content_offset;
    for (uint64_t record = read.first_record; record <= read.last_record; ++record) {
      const std::span<std::byte> bytes(content, records.bytes_of(record));
      if (!records.lz4.empty()) {
        const format::FileRecords::Place& place = records.lz4[record];
        const std::byte* stored = staging_data(buffer) + read.staging_offset +
                                  static_cast<size_t>(place.offset - read.offset);
        format::unpack_record(records, record, {stored, place.bytes}, bytes, path);
      }
      if (!records.xxh3.empty()) format::check_record(records, record, bytes, path);
      content += bytes.size();
    }
  }
}

bool ExpertLoader::has_complete() {
  std::array<io::ReadCompletion, 16> completions;
  while (complete_.empty()) {
    const size_t n = queue_.poll(completions);
    if (n == 0) return false;
    for (size_t i = 0; i < n; ++i) complete(completions[i]);
  }
  return true;
}

ExpertLoader::Loaded ExpertLoader::wait() {
  CHECK(in_flight_ > 0);
  std::array<io::ReadCompletion, 16> completions;
  while (complete_.empty()) {
    const size_t n = queue_.wait(completions);
    CHECK(n > 0);
    for (size_t i = 0; i < n; ++i) complete(completions[i]);
  }
  const int buffer = complete_.front();
  complete_.erase(complete_.begin());
  if (--in_flight_ == 0) {
    busy_s_ += std::chrono::duration<double>(Clock::now() - busy_since_).count();
  }
  finish_records(buffer);
  Loaded loaded{staging_[buffer].key, buffer, staging_data(buffer), {}};
  index_.matrices(loaded.key, staging_[buffer].plan, staging_data(buffer), &loaded.gate_up_down);
  check_orders(loaded);
  return loaded;
}

// What says the order of a matrix's inputs is data of the file: it must be an order.
void ExpertLoader::check_orders(const Loaded& loaded) const {
  for (int m = 0; m < 3; ++m) {
    const kernels::FileMatrix& matrix = loaded.gate_up_down[m];
    if (!matrix.format.permuted) continue;
    std::vector<int32_t> order(static_cast<size_t>(matrix.cols));
    if (quant::sort_inputs(matrix.group_of_input, matrix.cols, matrix.storage.group,
                           order.data())) {
      continue;
    }
    const ExpertParts& parts =
        index_.layer_of(loaded.key).parts[static_cast<size_t>(loaded.key % index_.experts())];
    const format::Extent& part = parts[m * kMatrixParts + 3];
    throw_error(ErrorCode::kCorrupt,
                "{}: the groups of the inputs at offset {} do not have {} inputs each",
                files_[part.file].path(), part.offset, matrix.storage.group);
  }
}

void ExpertLoader::release(const Loaded& loaded) { free_buffers_.push_back(loaded.buffer); }

std::byte* ExpertLoader::exchange(const Loaded& loaded, std::byte* memory) {
  free_buffers_.push_back(loaded.buffer);
  return std::exchange(staging_[loaded.buffer].memory, memory);
}

void ExpertLoader::drain() noexcept {
  std::array<io::ReadCompletion, 16> completions;
  while (queue_.in_flight() > 0) queue_.wait(completions);
  free_buffers_.clear();
  for (int b = static_cast<int>(staging_.size()) - 1; b >= 0; --b) free_buffers_.push_back(b);
  complete_.clear();
  in_flight_ = 0;
}

}  // namespace flashmoe::experts
