#include "experts/expert_index.h"

#include <algorithm>
#include <utility>

#include "base/check.h"

namespace flashmoe::experts {

void ExpertIndex::set_layer(int layer, Layer description) {
  CHECK(static_cast<int>(description.parts.size()) == experts_);
  layers_[static_cast<size_t>(layer)] = std::move(description);
}

size_t ExpertIndex::expert_bytes(int index) const {
  const Layer& l = layer(index);
  if (l.parts.empty()) return 0;
  return static_cast<size_t>(l.intermediate) *
             (l.gate.row_bytes(l.hidden) + l.up.row_bytes(l.hidden)) +
         static_cast<size_t>(l.hidden) * l.down.row_bytes(l.intermediate);
}

size_t ExpertIndex::total_bytes() const { return token_bytes(experts_); }

size_t ExpertIndex::token_bytes(int experts_per_token) const {
  size_t total = 0;
  for (int l = 0; l < layers(); ++l) total += expert_bytes(l);
  return total * static_cast<size_t>(experts_per_token);
}

ExpertReads ExpertIndex::reads(ExpertKey key, size_t alignment) const {
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

  ExpertReads result;
  for (int i = 0; i < used; ++i) {
    const format::Extent& part = parts[order[i]];
    const uint64_t begin = part.offset / alignment * alignment;
    const uint64_t end = (part.offset + part.bytes + alignment - 1) / alignment * alignment;
    ExpertReads::Read* last = result.count > 0 ? &result.reads[result.count - 1] : nullptr;
    if (last == nullptr || last->file != part.file || begin > last->offset + last->bytes) {
      last = &result.reads[result.count++];
      // Without alignment on disk, 64 bytes in memory still keep parts off each other's lines.
      const size_t unit = std::max<size_t>(alignment, 64);
      const size_t at = (result.staging_bytes + unit - 1) / unit * unit;
      *last = {part.file, begin, 0, 0, at};
    }
    last->bytes = std::max(last->bytes, static_cast<size_t>(end - last->offset));
    last->needed_bytes =
        std::max(last->needed_bytes, static_cast<size_t>(part.offset + part.bytes - last->offset));
    result.part_offset[order[i]] =
        last->staging_offset + static_cast<size_t>(part.offset - last->offset);
    result.staging_bytes = last->staging_offset + last->bytes;
  }
  return result;
}

size_t ExpertIndex::staging_bytes(size_t alignment) const {
  size_t largest = 0;
  for (int l = 0; l < layers(); ++l) {
    for (int e = 0; e < static_cast<int>(layer(l).parts.size()); ++e) {
      largest = std::max(largest, reads(key(l, e), alignment).staging_bytes);
    }
  }
  return largest;
}

void ExpertIndex::matrices(ExpertKey key, const ExpertReads& reads, const std::byte* staging,
                           std::array<kernels::FileMatrix, 3>* gate_up_down) const {
  const Layer& l = layer_of(key);
  const quant::Format formats[3] = {l.gate, l.up, l.down};
  for (int m = 0; m < 3; ++m) {
    const bool down = m == 2;
    const std::byte* part[3];
    for (int p = 0; p < 3; ++p) part[p] = staging + reads.part_offset[m * 3 + p];
    (*gate_up_down)[m] = {formats[m],
                          down ? l.hidden : l.intermediate,
                          down ? l.intermediate : l.hidden,
                          part[0],
                          part[1],
                          part[2]};
  }
}

}  // namespace flashmoe::experts
