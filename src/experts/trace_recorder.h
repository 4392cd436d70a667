// A tap that hands on each step's picks when the step is done: to a file, to statistics, or both.
// Owns the step at hand; does not change any route.
#pragma once

#include <functional>

#include "experts/route_tap.h"
#include "experts/routing_trace.h"

namespace flashmoe::experts {

class TraceRecorder final : public RouteTap {
 public:
  using Sink = std::function<void(const TraceStep&)>;

  // `early`: with the guesses made one layer ahead.
  TraceRecorder(const RoutingShape& shape, bool early, Sink sink)
      : shape_(shape), early_(early), sink_(std::move(sink)) {}

  void begin_step(int64_t rows) override;
  void on_routes(int layer, std::span<kernels::Route> routes, int k) override;
  void end_step() override { sink_(step_); }
  bool wants_early_routes() const override { return early_; }
  void on_early_routes(int layer, std::span<kernels::Route> routes, int k) override;

 private:
  void copy(int layer, std::span<const kernels::Route> routes, int k, std::vector<uint16_t>* to);

  RoutingShape shape_;
  bool early_;
  Sink sink_;
  TraceStep step_;
};

}  // namespace flashmoe::experts
