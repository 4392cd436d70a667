// What the server says of itself: /stats, /stats/experts, /metrics. Pure functions of the figures.
#pragma once

#include <string>
#include <vector>

#include "engine/batcher.h"
#include "http/server.h"
#include "server/generator.h"
#include "server/json_fields.h"

namespace flashmoe::server {

struct Figures {
  std::string model_name;
  const Engine* engine = nullptr;
  engine::BatcherStats batcher;
  std::vector<RunStatus> runs;
  http::ServerStats http;
  uint64_t rss_bytes = 0, peak_rss_bytes = 0;
};

Json stats_json(const Figures& figures);
// [layers][experts] of each property.
Json expert_map_json(const experts::ExpertMap& map);
// In Prometheus' text format, version 0.0.4.
std::string metrics_text(const Figures& figures);

}  // namespace flashmoe::server
