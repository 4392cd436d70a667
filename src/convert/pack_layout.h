// Where each tensor of a model goes in a packed store: one record for each expert, its matrices
// interleaved by rows where their rows can be had back, and the dense part in one file. Owns the
// choice of places; reads no weights.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "experts/expert_index.h"
#include "format/checkpoint.h"
#include "format/store_manifest.h"

namespace flashmoe::convert {

struct PackLayout {
  // A matrix of the source that is interleaved on its way (quant/interleaved.h).
  struct RowMatrix {
    quant::Format format;
    int64_t rows = 0, cols = 0;
    format::Extent scales, biases;  // empty where the format has none
  };
  // Bytes of the source at their place in a file's content.
  struct Piece {
    uint64_t offset = 0, bytes = 0;
    format::Extent source;  // of a matrix: its codes
    std::optional<RowMatrix> interleave{};
  };
  format::StoreManifest manifest;          // without checksums, companions and convention
  std::vector<std::vector<Piece>> pieces;  // of each file of manifest.weights, by offset

  uint64_t bytes() const;  // of all files of weights
};

// `index` says what is read for an expert. A layer whose experts are not wholly made of tensors of
// their own, or of slices of stacks, stays in the dense file.
PackLayout plan_pack(const format::Checkpoint& source, const experts::ExpertIndex& index);

}  // namespace flashmoe::convert
