// Splits a memory budget before anything is loaded.
#pragma once

#include <cstdint>

#include "flashmoe/engine.h"
#include "kernels/backend.h"
#include "model/state.h"
#include "model/weights.h"

namespace flashmoe::engine {

struct PlanInput {
  const model::ModelConfig& config;
  const model::WeightsPlan& weights;
  const model::StateShape& state;
  const kernels::Backend& backend;
  uint64_t budget_bytes = 0;
  uint64_t process_bytes = 0;  // in use already
  int64_t context = 0;
  int64_t rows = 0;  // of the largest step
  int sequences = 0;
  uint64_t prefix_cache_bytes = 0;
  size_t alignment = 1;  // of expert reads
  experts::WholeRecords whole_records = {};
};

// Pages of the key-value pool: every sequence at full context, and one more for each, to copy a
// shared page into; and what the prefix cache holds.
int pool_pages(const model::StateShape& state, int64_t context, int sequences,
               uint64_t prefix_cache_bytes);

// Throws Error kMemory that names the minimum when the budget is below it.
MemoryPlan make_plan(const PlanInput& input);

// The prompt tokens of one step when nobody says. Every chunk reads each of its experts once, so a
// larger one reads less, but takes memory for activations from the expert cache: 256, doubled up to
// 2048 (512 when all experts fit the cache, which then need no disk, and rows enough for the
// products) while what it takes beyond a chunk of 256 stays below 1/16 of the memory that the
// experts would get with that. At most the context. input.rows is not used.
int64_t choose_chunk(PlanInput input);

// What is available on this machine, less headroom for everything else on it.
uint64_t default_budget_bytes();

}  // namespace flashmoe::engine
