// What `flashmoe plan` says: how a model would run on this machine, before anything is loaded. Owns
// the words of advice; memory is split by plan.h, speeds are foretold by predict.h.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "engine/predict.h"
#include "flashmoe/engine.h"

namespace flashmoe::engine {

struct ModelPlan {
  std::string path;
  MemoryPlan memory;
  Workload work;
  int threads = 0;
  int64_t context = 0;
  int64_t chunk = 0;
  std::string io_name, io_reason;
  MachineLimits limits;               // disk: of the way that experts are read
  std::string disk_rates;             // of all ways
  double cache_share = 1;             // of all experts, what the cache holds
  bool rearranges = false;            // what is read of experts, and a packed store's would not be
  double hit_rate = 1;                // to expect, with routes as trained models have
  double uniform_hit_rate = 1;        // and with routes without pattern
  int64_t decode_context = 0;         // positions at which generation is foretold
  Prediction decode, uniform_decode;  // at these hit rates
  int64_t prompt_tokens = 0;
  Prediction prompt;                // of so many tokens
  std::vector<std::string> notes;   // as Engine::notes
  std::vector<std::string> advice;  // what to change, most useful first
};

// Reads headers only. Measures the machine where it was not measured before, or again with
// `remeasure`: up to about 2 s. Throws Error like Engine::open, also for too small a budget.
ModelPlan plan_model(const EngineOptions& options, bool remeasure = false);

}  // namespace flashmoe::engine
