// Where a benchmark's routes come from: the model itself, a recorded trace, or a made-up routing.
// Owns the replay of a trace; the made-up ones are in synthetic_routing.h.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "experts/route_tap.h"
#include "experts/routing_trace.h"

namespace flashmoe::experts {

// Puts a trace's picks in place of the router's, and its early picks, if it has them, in place of
// guesses; row by row, whatever steps they come in; from the start again after the last. A failed
// step's rows come again.
class TraceRouting final : public RouteTap {
 public:
  // The trace has at least one row, at least `k` picks a row and layer, and else the shape of the
  // model; Error kUsage if not.
  TraceRouting(RoutingTrace trace, const RoutingShape& shape, const std::string& path);
  void begin_step(int64_t rows) override { rows_ = rows; }
  void on_routes(int layer, std::span<kernels::Route> routes, int k) override;
  void on_early_routes(int layer, std::span<kernels::Route> routes, int k) override;
  void end_step() override;

 private:
  struct Place {
    size_t step = 0;
    int64_t row = 0;  // in the step
  };
  void next(Place* place) const;
  void replace(std::vector<uint16_t> TraceStep::*picks, int layer, std::span<kernels::Route> routes,
               int k) const;

  RoutingTrace trace_;
  Place place_;  // of the next step's first row
  int64_t rows_ = 0;
};

constexpr const char* kRoutingHelp = "model, trace:FILE, synthetic or uniform";

// The tap for `spec`, one of kRoutingHelp's; nullptr for the model's own routes. Equal seeds give
// equal routes. Throws Error kUsage for another spec or a trace that does not fit the shape.
std::unique_ptr<RouteTap> make_routing(const std::string& spec, const RoutingShape& shape,
                                       uint64_t seed);

// The trace of steps of step_rows[i] rows whose routes `tap` makes up, without a model.
RoutingTrace generate_trace(RouteTap& tap, const RoutingShape& shape,
                            std::span<const int64_t> step_rows);

}  // namespace flashmoe::experts
