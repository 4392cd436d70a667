// What this machine would allow a run at most, to be printed beside what was measured. Owns
// nothing.
#pragma once

#include <cstdint>
#include <optional>

#include "engine/predict.h"
#include "flashmoe/engine.h"

namespace flashmoe::cli {

struct Forecast {
  engine::Prediction prompt, decode;  // with a cache long in use
  double hit_rate = 1;
};

// For a prompt and a number of tokens generated after it. From what is known of the machine; what
// is not is measured if the engine's budget has room for that, in about half a second. nullopt if
// not.
std::optional<Forecast> make_forecast(const Engine& opened, int64_t prompt_tokens,
                                      int64_t generated_tokens);

}  // namespace flashmoe::cli
