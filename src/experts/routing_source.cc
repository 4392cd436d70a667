#include "experts/routing_source.h"

#include <utility>
#include <vector>

#include "base/error.h"
#include "experts/synthetic_routing.h"
#include "experts/trace_recorder.h"

namespace flashmoe::experts {

TraceRouting::TraceRouting(RoutingTrace trace, const RoutingShape& shape, const std::string& path)
    : trace_(std::move(trace)) {
  const RoutingShape& own = trace_.shape;
  if (own.layers != shape.layers || own.experts != shape.experts || own.k < shape.k) {
    throw_error(ErrorCode::kUsage,
                "{}: the routing of {} layers of {} experts, {} a token, does not fit a model of "
                "{} layers of {}, {} a token",
                path, own.layers, own.experts, own.k, shape.layers, shape.experts, shape.k);
  }
  if (trace_.steps.empty()) throw_error(ErrorCode::kUsage, "{}: the routing has no rows", path);
}

void TraceRouting::next(Place* place) const {
  if (++place->row < trace_.steps[place->step].rows) return;
  place->row = 0;
  place->step = (place->step + 1) % trace_.steps.size();
}

void TraceRouting::replace(std::vector<uint16_t> TraceStep::*picks, int layer,
                           std::span<kernels::Route> routes, int k) const {
  Place place = place_;
  const int64_t width = trace_.shape.k;
  for (size_t begin = 0; begin < routes.size(); begin += static_cast<size_t>(k), next(&place)) {
    const TraceStep& step = trace_.steps[place.step];
    const uint16_t* row = (step.*picks).data() + (layer * step.rows + place.row) * width;
    for (int i = 0; i < k; ++i) {
      if (row[i] != kNoPick) routes[begin + static_cast<size_t>(i)].expert = row[i];
    }
  }
}

void TraceRouting::on_routes(int layer, std::span<kernels::Route> routes, int k) {
  replace(&TraceStep::picks, layer, routes, k);
}

void TraceRouting::on_early_routes(int layer, std::span<kernels::Route> routes, int k) {
  if (!trace_.steps[0].early.empty()) replace(&TraceStep::early, layer, routes, k);
}

void TraceRouting::end_step() {
  for (int64_t i = 0; i < rows_; ++i) next(&place_);
}

std::unique_ptr<RouteTap> make_routing(const std::string& spec, const RoutingShape& shape,
                                       uint64_t seed) {
  constexpr std::string_view kTrace = "trace:";
  if (spec == "model") return nullptr;
  if (spec == "synthetic") return std::make_unique<SyntheticRouting>(shape, seed);
  if (spec == "uniform") return std::make_unique<UniformRouting>(shape, seed);
  if (spec.starts_with(kTrace) && spec.size() > kTrace.size()) {
    const std::string path = spec.substr(kTrace.size());
    return std::make_unique<TraceRouting>(read_routing_trace(path), shape, path);
  }
  throw_error(ErrorCode::kUsage, "the routing is {}, not '{}'", kRoutingHelp, spec);
}

RoutingTrace generate_trace(RouteTap& tap, const RoutingShape& shape,
                            std::span<const int64_t> step_rows) {
  RoutingTrace trace;
  trace.shape = shape;
  TraceRecorder recorder(shape, false, [&](const TraceStep& step) { trace.steps.push_back(step); });
  std::vector<kernels::Route> routes;
  for (const int64_t rows : step_rows) {
    routes.resize(static_cast<size_t>(rows * shape.k));
    tap.begin_step(rows);
    recorder.begin_step(rows);
    for (int layer = 0; layer < shape.layers; ++layer) {
      tap.on_routes(layer, routes, shape.k);
      recorder.on_routes(layer, routes, shape.k);
    }
    tap.end_step();
    recorder.end_step();
  }
  return trace;
}

}  // namespace flashmoe::experts
