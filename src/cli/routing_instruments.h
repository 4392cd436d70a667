// What `run` does with the routes of its steps: records them, and reports on them. Owns the file
// while it is written.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "bench/report.h"
#include "experts/routing_stats.h"
#include "experts/routing_trace.h"
#include "experts/trace_recorder.h"
#include "flashmoe/engine.h"

namespace flashmoe::cli {

class RoutingInstruments {
 public:
  // Watches the engine's steps from now on. record_path: the trace to write; empty: none. Without
  // that and `report` nothing is watched. The engine must outlive this.
  RoutingInstruments(Engine& engine, const std::string& record_path, bool report);
  ~RoutingInstruments();
  RoutingInstruments(const RoutingInstruments&) = delete;
  RoutingInstruments& operator=(const RoutingInstruments&) = delete;

  // Gives the trace its name. Without this there is no file.
  void finish();
  // Of a run that was to be reported on.
  bool reports() const { return stats_.has_value(); }
  std::vector<std::string> lines() const;
  bench::Json json() const;

 private:
  uint64_t expert_bytes() const;  // the mean of those that were visited

  Engine& engine_;
  std::optional<experts::RoutingTraceWriter> writer_;
  std::optional<experts::RoutingStats> stats_;
  std::unique_ptr<experts::TraceRecorder> recorder_;
};

}  // namespace flashmoe::cli
