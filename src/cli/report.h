// What a run says of itself: the timing table and the JSON object. Owns only the arithmetic.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>

#include "cli/forecast.h"
#include "engine/generate.h"
#include "flashmoe/engine.h"

namespace flashmoe::cli {

struct RunReport {
  const engine::Generation& generation;
  EngineStats stats;
  MemoryPlan plan;
  std::string io_name, io_reason;
  int64_t prompt_tokens = 0;
  double load_s = 0;
  uint64_t peak_rss_bytes = 0;
  std::optional<Forecast> forecast;

  double prompt_tok_s() const;
  double generate_tok_s() const;
};

// The keys that scripts rely on: prompt_tokens, generated_tokens, first_token_s, prompt_tok_s,
// generate_tok_s, expert_hits, expert_misses, disk_bytes, peak_rss_bytes, stages, …
nlohmann::ordered_json report_json(const RunReport& report);
// The same for people, several lines.
std::string report_text(const RunReport& report);

}  // namespace flashmoe::cli
