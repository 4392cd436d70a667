// Sees what the router chose in every layer of every step, and may put other experts in its place:
// the seam for recording a routing and for running one that was recorded or made up
// (docs/architecture.md, "Routing instruments"). Owns nothing; does not run experts.
#pragma once

#include <cstdint>
#include <span>

#include "kernels/backend.h"

namespace flashmoe::experts {

// What a routing looks like. Layers without experts do not count: `layer` below is the n-th layer
// that has any.
struct RoutingShape {
  int layers = 0;
  int experts = 0;  // of one layer
  int k = 0;        // experts of one row in one layer

  int64_t keys() const { return int64_t{layers} * experts; }
  int64_t picks() const { return int64_t{layers} * k; }  // of one row
  bool operator==(const RoutingShape&) const = default;
};

// The calls of one step: begin_step, then on_routes for each layer in order, then end_step. A step
// that fails has no end_step.
class RouteTap {
 public:
  virtual ~RouteTap() = default;

  virtual void begin_step(int64_t rows) = 0;
  // routes [rows, k], of each row the most probable first. Experts may be replaced by others, which
  // differ within a row; the weights stay as they are, those of the router's ranks.
  virtual void on_routes(int layer, std::span<kernels::Route> routes, int k) = 0;
  virtual void end_step() {}

  // Whether this wants on_early_routes. It costs a router product per layer.
  virtual bool wants_early_routes() const { return false; }
  // A guess at the routes of `layer`, made while the layer before it runs: its norm and router
  // applied to the hidden state that the layer before gives its own router; for the first layer,
  // to the embeddings. Called before the layer's on_routes, when somebody wants it, unless the
  // layer follows one without experts. Who replaces routes replaces guesses at them, too.
  virtual void on_early_routes(int /*layer*/, std::span<kernels::Route> /*routes*/, int /*k*/) {}
};

}  // namespace flashmoe::experts
