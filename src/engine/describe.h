// What a model is, told from its headers and config alone: nothing is loaded.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "model/config.h"

namespace flashmoe::engine {

// Tensors of one kind that are stored alike.
struct TensorKind {
  std::string kind;    // "attention", "experts gate and up", …
  std::string format;  // "affine 4-bit g64"
  int64_t weights = 0;
  uint64_t bytes = 0;  // in the files
};

struct ModelDescription {
  std::string path;
  model::ModelConfig config;
  std::vector<TensorKind> kinds;    // in the order of the forward pass
  uint64_t dense_bytes = 0;         // that every token needs, in the files
  uint64_t routed_bytes = 0;        // experts, all of them
  uint64_t token_dense_bytes = 0;   // read from memory for each token
  uint64_t token_expert_bytes = 0;  // of the experts that each token visits
  uint64_t kv_token_bytes = 0;      // key-value cache of one position, f16
  uint64_t recurrent_bytes = 0;     // of one sequence's delta net states
  std::vector<std::string> unused;  // tensors that flashmoe does not use
  uint64_t unused_bytes = 0;
};

// `folder` comes from format::locate_model. Throws Error for whatever would keep it from running.
ModelDescription describe(const std::string& folder);

}  // namespace flashmoe::engine
