#include "experts/trace_recorder.h"

#include "base/check.h"

namespace flashmoe::experts {

void TraceRecorder::begin_step(int64_t rows) {
  const size_t count = static_cast<size_t>(rows * shape_.picks());
  step_.rows = rows;
  step_.picks.assign(count, kNoPick);
  if (early_) step_.early.assign(count, kNoPick);
}

void TraceRecorder::on_routes(int layer, std::span<kernels::Route> routes, int k) {
  copy(layer, routes, k, &step_.picks);
}

void TraceRecorder::on_early_routes(int layer, std::span<kernels::Route> routes, int k) {
  if (early_) copy(layer, routes, k, &step_.early);
}

void TraceRecorder::copy(int layer, std::span<const kernels::Route> routes, int k,
                         std::vector<uint16_t>* to) {
  CHECK(layer < shape_.layers && k == shape_.k);
  const size_t count = static_cast<size_t>(step_.rows) * static_cast<size_t>(k);
  CHECK(routes.size() == count);
  uint16_t* out = to->data() + static_cast<size_t>(layer) * count;
  for (size_t i = 0; i < count; ++i) out[i] = static_cast<uint16_t>(routes[i].expert);
}

}  // namespace flashmoe::experts
