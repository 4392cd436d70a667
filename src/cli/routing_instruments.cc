#include "cli/routing_instruments.h"

#include <fmt/format.h>

#include <filesystem>

#include "bench/routing_report.h"

namespace flashmoe::cli {

RoutingInstruments::RoutingInstruments(Engine& engine, const std::string& record_path, bool report)
    : engine_(engine) {
  const experts::RoutingShape shape = engine.routing_shape();
  if (!record_path.empty()) {
    const std::string model = std::filesystem::path(engine.model_path()).filename().string();
    writer_.emplace(record_path, model, shape, true);
  }
  if (report) stats_.emplace(shape);
  if (!writer_ && !stats_) return;
  recorder_ =
      std::make_unique<experts::TraceRecorder>(shape, true, [this](const experts::TraceStep& step) {
        if (writer_) writer_->write(step);
        if (stats_) stats_->add(step);
      });
  engine_.set_route_tap(recorder_.get());
}

RoutingInstruments::~RoutingInstruments() {
  if (recorder_) engine_.set_route_tap(nullptr);
}

void RoutingInstruments::finish() {
  if (writer_) writer_->finish();
}

uint64_t RoutingInstruments::expert_bytes() const {
  const EngineStats s = engine_.stats();
  const int64_t visits = s.expert_hits + s.expert_misses;
  if (visits == 0) return 0;
  return (s.expert_hit_bytes + s.expert_miss_bytes) / static_cast<uint64_t>(visits);
}

std::vector<std::string> RoutingInstruments::lines() const {
  std::vector<std::string> lines = bench::routing_lines(*stats_, expert_bytes());
  const bench::MissKinds misses = bench::miss_kinds(*stats_, engine_.stats().expert_misses);
  lines.insert(lines.begin() + 1,
               fmt::format("cache misses    {} of experts not needed before, {} of evicted ones",
                           misses.first, misses.evicted));
  return lines;
}

bench::Json RoutingInstruments::json() const {
  bench::Json json = bench::routing_json(*stats_, expert_bytes());
  const bench::MissKinds misses = bench::miss_kinds(*stats_, engine_.stats().expert_misses);
  json["first_misses"] = misses.first;
  json["eviction_misses"] = misses.evicted;
  return json;
}

}  // namespace flashmoe::cli
