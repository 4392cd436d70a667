// How fast a model can run on a machine: what each token asks of memory, disk and arithmetic,
// against what these give. Pure functions; the machine's limits are measured in src/limits.
#pragma once

#include <cstdint>

#include "model/config.h"
#include "model/state.h"
#include "model/weights.h"

namespace flashmoe::engine {

// What a model asks for. Bytes are those of the files' formats.
struct Workload {
  uint64_t dense_bytes = 0;      // weights that every step reads
  uint64_t expert_bytes = 0;     // of one expert, the mean over layers
  int layers = 0;                // with experts
  int experts = 0;               // of a layer
  int k = 0;                     // of a token in a layer
  uint64_t kv_token_bytes = 0;   // keys and values of one position
  uint64_t recurrent_bytes = 0;  // states of all delta net layers
  // Multiply-adds of one token; attention and delta net are not counted.
  int64_t dense_macs = 0;  // but for the head, which a prompt needs once
  int64_t head_macs = 0;
  int64_t expert_macs = 0;  // of one expert

  int64_t picks() const { return int64_t{layers} * k; }  // experts of one token
  int64_t macs() const { return dense_macs + head_macs + picks() * expert_macs; }
  uint64_t token_bytes() const {
    return dense_bytes + static_cast<uint64_t>(picks()) * expert_bytes;
  }
  // Read and written by a token at `context` positions.
  uint64_t state_bytes(int64_t context) const {
    return kv_token_bytes * static_cast<uint64_t>(context) + 2 * recurrent_bytes;
  }
};

Workload make_workload(const model::WeightsPlan& weights, const model::ModelConfig& config,
                       const model::StateShape& state);

// What a machine gives. 0: not known, so it does not bound.
struct MachineLimits {
  double memory_bytes_s = 0;
  double int8_ops_s = 0;  // a multiply-add is two
  double disk_bytes_s = 0;
};

// The share of expert visits that find the expert resident, on a cache long in use that holds
// `cache_share` of all experts. `uniform`: routes without any pattern, where no cache can do better
// than its share. Else routes as trained models have: interpolated, in the share and in
// experts / k, from replays of experts::SyntheticRouting (24 layers, 2400 tokens, the first quarter
// not counted) through our eviction policy; the table is in predict.cc. Real texts differ by some
// points either way.
double expected_hit_rate(double cache_share, int experts, int k, bool uniform);

// Experts of one layer that `rows` tokens pick when routes have no pattern: the most to expect.
double expected_experts(int experts, int k, int64_t rows);

enum class Bound { kMemory, kDisk, kArithmetic };
const char* bound_name(Bound bound);  // "memory", "disk", "arithmetic"

// The time that a machine needs at least, everything at once: the longest of three.
struct Bounded {
  double seconds = 0;
  Bound bound = Bound::kMemory;
};
Bounded least_time(double memory_bytes, double disk_bytes, double ops, const MachineLimits& limits);

struct Prediction {
  double memory_bytes = 0;  // weights read per token
  double state_bytes = 0;   // and state, read and written
  double disk_bytes = 0;    // read per token
  double tok_s = 0;
  Bound bound = Bound::kMemory;
};

// A token at `context` positions of which `hit_rate` of the experts are resident.
Prediction predict_decode(const Workload& work, double hit_rate, int64_t context,
                          const MachineLimits& limits);
// A prompt of `tokens` in chunks, when the cache holds `cache_share` of the experts: each chunk
// reads each of its experts once, from memory or from disk.
Prediction predict_prompt(const Workload& work, double cache_share, int64_t tokens, int64_t chunk,
                          const MachineLimits& limits);

}  // namespace flashmoe::engine
