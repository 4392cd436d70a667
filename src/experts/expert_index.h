// Where each expert of each layer lies on disk. Owns the list of byte ranges; opens and reads
// nothing. An expert is three matrices (gate, up, down) of up to four parts each, anywhere in the
// checkpoint's files.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "format/checkpoint.h"
#include "kernels/backend.h"

namespace flashmoe::experts {

// An expert of the whole model: layer * experts per layer + expert.
using ExpertKey = int32_t;

constexpr int kMatrixParts = 4;           // codes, scales, biases (or zeros), group of each input
constexpr int kParts = 3 * kMatrixParts;  // of gate, up, down

// The parts of one expert in the order above; formats without scales and biases leave theirs empty.
using ExpertParts = std::array<format::Extent, kParts>;

// Files whose records are read whole, to be unpacked or checked: [file], nullptr for the others.
using WholeRecords = std::span<const format::FileRecords* const>;

// How one expert is read into a staging buffer: neighbouring parts share a read, and every read is
// aligned in file and buffer.
struct ExpertReads {
  struct Read {
    int file = 0;
    uint64_t offset = 0;
    size_t bytes = 0;
    size_t needed_bytes = 0;  // up to the last byte used; the file may end before `bytes`
    size_t staging_offset = 0;
    // Of whole records: which, and where their content begins in the staging buffer. It is within
    // what was read, or, for a compressed record, after it.
    const format::FileRecords* records = nullptr;
    uint64_t first_record = 0, last_record = 0;
    size_t content_offset = 0;
  };
  int count = 0;
  std::array<Read, kParts> reads;
  std::array<size_t, kParts> part_offset{};  // of each part in the staging buffer
  size_t staging_bytes = 0;
};

class ExpertIndex {
 public:
  ExpertIndex(int layers, int experts) : experts_(experts), layers_(static_cast<size_t>(layers)) {}

  // The formats and shapes of a layer's experts, all alike.
  struct Layer {
    quant::Format gate, up, down;
    int64_t hidden = 0;
    int64_t intermediate = 0;
    std::vector<ExpertParts> parts;  // one for each expert; empty for a layer without experts
    std::array<quant::Storage, 3> storages{};  // of gate, up, down in their files
  };
  void set_layer(int layer, Layer description);

  int layers() const { return static_cast<int>(layers_.size()); }
  int experts() const { return experts_; }
  const Layer& layer(int index) const { return layers_[static_cast<size_t>(index)]; }
  const Layer& layer_of(ExpertKey key) const { return layer(key / experts_); }
  ExpertKey key(int layer, int expert) const { return layer * experts_ + expert; }

  // Bytes of one expert of the layer in its file; 0 for a layer without experts.
  size_t expert_bytes(int layer) const;
  size_t total_bytes() const;
  // Bytes of the experts that one token visits.
  size_t token_bytes(int experts_per_token) const;

  ExpertReads reads(ExpertKey key, size_t alignment, WholeRecords whole = {}) const;
  // The largest ExpertReads::staging_bytes.
  size_t staging_bytes(size_t alignment, WholeRecords whole = {}) const;
  // The expert's matrices in a staging buffer that `reads` filled. Parts without bytes are null.
  void matrices(ExpertKey key, const ExpertReads& reads, const std::byte* staging,
                std::array<kernels::FileMatrix, 3>* gate_up_down) const;

 private:
  int experts_;
  std::vector<Layer> layers_;
};

}  // namespace flashmoe::experts
