// Any bytes as a routing trace: a trace that can be analysed, or an Error.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <sstream>

#include "base/error.h"
#include "experts/cache_replay.h"
#include "experts/routing_stats.h"
#include "experts/routing_trace.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace flashmoe::experts;
  try {
    std::istringstream stream(std::string(reinterpret_cast<const char*>(data), size));
    const RoutingTrace trace = read_routing_trace(stream, size, "fuzz");
    // What analyses a trace takes its word for the rest. Keeps within a fuzzer's memory.
    if (trace.shape.keys() > 100000) return 0;
    RoutingStats stats(trace.shape);
    for (const TraceStep& step : trace.steps) stats.add(step);
    if (stats.rows() != trace.rows()) std::abort();
    const CacheReplay replay(trace);
    const int64_t best = replay.run(ReplayPolicy::kBelady, trace.shape.k).all().misses;
    if (best > replay.run(ReplayPolicy::kOurs, trace.shape.k).all().visits) std::abort();
  } catch (const flashmoe::Error&) {
  }
  return 0;
}
