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

// The routed experts alone, without attention or dense weights: `batch` rows a step.
Report bench_experts(const BenchOptions& options);
// Reading experts from disk, in every way, beside direct sequential reads.
Report bench_io(const BenchOptions& options);
// Matrix products from memory, by bits, instruction set and shape: products with one row of
// activations beside a plain sum over the same bytes, with more rows beside the int8 peak. Of the
// options only threads, repeat and formats count.
Report bench_kernels(const BenchOptions& options);

}  // namespace flashmoe::bench
