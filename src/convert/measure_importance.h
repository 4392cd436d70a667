// Measures how large the inputs of a model's matrices are on a text. Owns the sums while they grow.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "convert/importance.h"
#include "flashmoe/engine.h"

namespace flashmoe::convert {

struct MeasureOptions {
  int64_t window = 2048;  // tokens that are run with one context
  bool moments = false;   // products of every two inputs, too
  std::function<void(int64_t done_tokens)> progress{};
  StopCheck stop{};
};

// Bytes that the sums will take, of a model in folder `folder`.
uint64_t importance_bytes(const std::string& folder, bool moments);

// Runs the tokens in windows, each with an empty context. The engine, opened from `folder`, has a
// context that holds a window. Columns are in transformers' order, whatever order of value heads
// the files have. Throws Error kCancelled when stopped.
Importance measure_importance(Engine& engine, const std::string& folder,
                              std::span<const int32_t> tokens, const MeasureOptions& options);

}  // namespace flashmoe::convert
