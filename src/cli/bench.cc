// flashmoe bench: speeds beside the machine's limits.
#include <fmt/format.h>

#include <functional>
#include <map>
#include <string>

#include "base/log.h"
#include "base/stop_signal.h"
#include "bench/benches.h"
#include "cli/bench_cache.h"
#include "cli/commands.h"
#include "cli/locate.h"

namespace flashmoe::cli {

int bench(const BenchCommandOptions& o) {
  static const std::map<std::string, std::function<bench::Report(const bench::BenchOptions&)>>
      kBenches = {{"decode", bench::bench_decode},
                  {"prefill", bench::bench_prefill},
                  {"experts", bench::bench_experts},
                  {"io", bench::bench_io},
                  {"kernels", bench::bench_kernels}};
  install_stop_signal();
  bench::BenchOptions options;
  options.engine = o.model.engine;
  const bool finds_model = o.bench == "cache";  // may do without one
  if (!finds_model && o.bench != "kernels") options.engine.model = model_folder(o.model.model);
  options.routing = o.routing;
  options.tokens = o.tokens;
  // Here --context counts what is there before the first measured token.
  options.context = o.model.engine.context;
  options.engine.context = 0;
  options.batch = o.batch;
  options.repeat = o.repeat;
  options.formats = o.formats;
  options.seed = o.seed;
  options.stop = stop_requested;
  const bench::Report report =
      finds_model ? bench_cache(o, options) : kBenches.at(o.bench)(options);
  if (o.json) {
    fmt::print("{}\n", bench::report_json(report).dump());
  } else {
    fmt::print("{}", bench::report_text(report));
  }
  if (!o.results.empty()) bench::append_result(o.results, report, o.verdict, o.note);
  return 0;
}

}  // namespace flashmoe::cli
