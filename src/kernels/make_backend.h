// Chooses a backend by name.
#pragma once

#include <memory>
#include <string_view>

#include "base/thread_pool.h"
#include "kernels/backend.h"

namespace flashmoe::kernels {

// "cpu" or "ref"; Error kUsage for any other name. `exact`: no product rounds its activations, as
// in ref. `pool` must outlive the backend.
std::unique_ptr<Backend> make_backend(std::string_view name, ThreadPool& pool, bool exact = false);

}  // namespace flashmoe::kernels
