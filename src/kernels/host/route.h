// The router's choice and the sum of the chosen experts' outputs, for one token.
#pragma once

#include <cstdint>

#include "kernels/backend.h"

namespace flashmoe::kernels::host {

// logits [experts] -> routes [k], see Backend::route. k <= experts.
void route_row(const float* logits, int experts, int k, bool normalize, Route* routes) noexcept;

// out [hidden] = weighted sum over routes [k] of the rows of y that they name, plus, unless it is
// nullptr, sigmoid(shared_gate) * shared [hidden]; see Backend::combine.
void combine_row(const Route* routes, int k, const float* y, int64_t hidden, const float* shared,
                 float shared_gate, float* out) noexcept;

}  // namespace flashmoe::kernels::host
