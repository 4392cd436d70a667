// `flashmoe bench cache`, of which the model may be a published shape without files, or left out.
#pragma once

#include "bench/report.h"
#include "bench/rig.h"
#include "cli/commands.h"

namespace flashmoe::cli {

// `run` holds the options that all benchmarks share; its engine's model is not filled in.
bench::Report bench_cache(const BenchCommandOptions& options, const bench::BenchOptions& run);

}  // namespace flashmoe::cli
