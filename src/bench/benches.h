// The benchmarks, one file each. Each runs, measures the machine's limit beside it and says which
// fraction of it was reached. They throw Error as the engine does.
#pragma once

#include "bench/report.h"
#include "bench/rig.h"

namespace flashmoe::bench {

// Generation: one token a step, experts cold (first touched) and warm.
Report bench_decode(const BenchOptions& options);
// Prompts: matrix products of whole chunks.
Report bench_prefill(const BenchOptions& options);

}  // namespace flashmoe::bench
