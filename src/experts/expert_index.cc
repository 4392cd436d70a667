#include "experts/expert_index.h"

#include <algorithm>
#include <utility>

#include "base/check.h"

namespace flashmoe::experts {

namespace {

constexpr size_t kLineBytes = 64;
constexpr uint64_t kGap = kLineBytes - 1;  // between parts that still share a read

size_t round_up(size_t bytes, size_t unit) { return (bytes + unit - 1) / unit * unit; }

// A range of a file's content that is read at once.
struct Span {
  int file = -1;
  const format::FileRecords* records = nullptr;  // when these are read whole
  uint64_t begin = 0, end = 0;
  uint64_t needed_end = 0;

  bool packed() const { return records != nullptr && !records->lz4.empty(); }
};

// What has to be read for a part: its aligned surroundings, or its records.
Span span_of(const format::Extent& part, size_t alignment, WholeRecords whole) {
  const auto file = static_cast<size_t>(part.file);
  const format::FileRecords* records = file < whole.size() ? whole[file] : nullptr;
  const uint64_t end = part.offset + part.bytes;
  if (records == nullptr) {
    return {part.file, nullptr, part.offset / alignment * alignment,
            (end + alignment - 1) / alignment * alignment, end};
  }
  const uint64_t unit = records->record_bytes;
  const uint64_t records_end = std::min((end + unit - 1) / unit * unit, records->content_bytes);
  return {part.file, records, part.offset / unit * unit, records_end, records_end};
}

void set_read(const Span& span, size_t alignment, size_t unit, ExpertReads::Read* read) {
  const auto aligned = [&](uint64_t begin, uint64_t end, uint64_t needed_end) {
    read->offset = begin / alignment * alignment;
    read->bytes = round_up(static_cast<size_t>(end - read->offset), alignment);
    read->needed_bytes = static_cast<size_t>(needed_end - read->offset);
  };
  read->records = span.records;
  if (span.records != nullptr) {
    read->first_record = span.begin / span.records->record_bytes;
    read->last_record = (span.end - 1) / span.records->record_bytes;
  }
  if (span.packed()) {
    const format::FileRecords::Place& place = span.records->lz4[read->first_record];
    aligned(place.offset, place.offset + place.bytes, place.offset + place.bytes);
    read->content_offset = round_up(read->staging_offset + read->bytes, unit);
  } else {
    aligned(span.begin, span.end, span.needed_end);
    read->content_offset = read->staging_offset + static_cast<size_t>(span.begin - read->offset);
  }
}

}  // namespace

void ExpertIndex::set_layer(int layer, Layer description) {
  CHECK(static_cast<int>(description.parts.size()) == experts_);
  layers_[static_cast<size_t>(layer)] = std::move(description);
}

size_t ExpertIndex::expert_bytes(int index) const {
  const Layer& l = layer(index);
  if (l.parts.empty()) return 0;
  size_t bytes = 0;
  for (const format::Extent& part : l.parts[0]) bytes += part.bytes;
  return bytes;
}

size_t ExpertIndex::total_bytes() const { return token_bytes(experts_); }

size_t ExpertIndex::token_bytes(int experts_per_token) const {
  size_t total = 0;
  for (int l = 0; l < layers(); ++l) total += expert_bytes(l);
  return total * static_cast<size_t>(experts_per_token);
}

ExpertReads ExpertIndex::reads(ExpertKey key, size_t alignment, WholeRecords whole) const {
  const ExpertParts& parts = layer_of(key).parts[static_cast<size_t>(key % experts_)];
  const auto place = [&](int i) { return std::pair(parts[i].file, parts[i].offset); };
  std::array<int, kParts> order{};  // the parts in use, by their place on disk
  int used = 0;
  for (int i = 0; i < kParts; ++i) {
    if (parts[i].bytes == 0) continue;
    int at = used++;
    for (; at > 0 && place(i) < place(order[at - 1]); --at) order[at] = order[at - 1];
    order[at] = i;
  }

  // Without alignment on disk, 64 bytes in memory still keep parts off each other's lines.
  const size_t unit = std::max<size_t>(alignment, kLineBytes);
  ExpertReads result;
  Span last;  // the content that the last read brings
  for (int i = 0; i < used; ++i) {
    const format::Extent& part = parts[order[i]];
    const Span span = span_of(part, alignment, whole);
    const bool shares = i > 0 && last.file == part.file && last.records == span.records &&
                        (span.packed() ? span.begin == last.begin : span.begin <= last.end + kGap);
    if (!shares) {
      ExpertReads::Read& read = result.reads[result.count++];
      read.file = part.file;
      read.staging_offset = round_up(result.staging_bytes, unit);
      last = span;
    }
    ExpertReads::Read& read = result.reads[result.count - 1];
    last.end = std::max(last.end, span.end);
    last.needed_end = std::max(last.needed_end, span.needed_end);
    set_read(last, alignment, unit, &read);
    result.part_offset[order[i]] =
        read.content_offset + static_cast<size_t>(part.offset - last.begin);
    result.staging_bytes = last.packed() ? read.content_offset + (last.end - last.begin)
                                         : read.staging_offset + read.bytes;
  }
  return result;
}

size_t ExpertIndex::staging_bytes(size_t alignment, WholeRecords whole) const {
  size_t largest = 0;
  for (int l = 0; l < layers(); ++l) {
    for (int e = 0; e < static_cast<int>(layer(l).parts.size()); ++e) {
      largest = std::max(largest, reads(key(l, e), alignment, whole).staging_bytes);
    }
  }
  return largest;
}

void ExpertIndex::matrices(ExpertKey key, const ExpertReads& reads, const std::byte* staging,
                           std::array<kernels::FileMatrix, 3>* gate_up_down) const {
  const Layer& l = layer_of(key);
  const ExpertParts& parts = l.parts[static_cast<size_t>(key % experts_)];
  const quant::Format formats[3] = {l.gate, l.up, l.down};
  for (int m = 0; m < 3; ++m) {
    const bool down = m == 2;
    const std::byte* part[kMatrixParts];
    for (int p = 0; p < kMatrixParts; ++p) {
      const int index = m * kMatrixParts + p;
      part[p] = parts[index].bytes > 0 ? staging + reads.part_offset[index] : nullptr;
    }
    (*gate_up_down)[m] = {formats[m],
                          down ? l.hidden : l.intermediate,
                          down ? l.intermediate : l.hidden,
                          part[0],
                          part[1],
                          part[2],
                          l.storages[m],
                          part[3]};
  }
}

}  // namespace flashmoe::experts
