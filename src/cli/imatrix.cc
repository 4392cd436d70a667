// flashmoe imatrix: how large the inputs of a model's matrices are on a text.
#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/format_units.h"
#include "base/log.h"
#include "base/stop_signal.h"
#include "cli/commands.h"
#include "cli/locate.h"
#include "cli/open_engine.h"
#include "convert/measure_importance.h"
#include "engine/plan.h"
#include "engine/text_model.h"

namespace flashmoe::cli {

namespace {

constexpr int64_t kWindow = 2048;  // tokens run with one context, when nobody says

// The sums count in the budget, and the engine gets what they leave.
uint64_t engine_budget(uint64_t asked_bytes, uint64_t sums_bytes) {
  const uint64_t budget = asked_bytes > 0 ? asked_bytes : engine::default_budget_bytes();
  if (sums_bytes >= budget) {
    throw_error(ErrorCode::kMemory,
                "the sums take {}, more than the {} that may be used; leave out --moments or raise "
                "--memory",
                format_bytes(sums_bytes), format_bytes(budget));
  }
  return budget - sums_bytes;
}

}  // namespace

int imatrix(const ImatrixOptions& o) {
  const std::string folder = model_folder(o.model.model);
  const engine::TextModel text(folder);
  const std::vector<int32_t> tokens = text.encode_text(read_text(o.text, "text"), true);
  if (tokens.empty()) throw_error(ErrorCode::kUsage, "{}: there is no text in it", o.text);
  install_stop_signal();
  ModelOptions options = o.model;
  if (options.engine.context == 0) options.engine.context = kWindow;
  const uint64_t sums_bytes = convert::importance_bytes(folder, o.moments);
  log_info("the sums take {} of memory", format_bytes(sums_bytes));
  options.engine.memory_bytes = engine_budget(options.engine.memory_bytes, sums_bytes);
  const std::unique_ptr<Engine> engine = open_engine(options, folder);
  Progress progress("measuring", tokens.size(), "tokens");
  convert::MeasureOptions how;
  how.window = engine->context();
  how.moments = o.moments;
  how.progress = [&](int64_t done) { progress.update(static_cast<uint64_t>(done)); };
  how.stop = stop_requested;
  const convert::Importance importance = convert::measure_importance(*engine, folder, tokens, how);
  importance.write(o.out);
  log_info("{}: the inputs of {} tokens", o.out, tokens.size());
  return 0;
}

}  // namespace flashmoe::cli
