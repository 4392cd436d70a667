#include "cli/open_engine.h"

#include <optional>

#include "base/error.h"
#include "base/log.h"
#include "base/stop_signal.h"
#include "base/timer.h"

namespace flashmoe::cli {

std::unique_ptr<Engine> open_engine(const ModelOptions& options, const std::string& folder) {
  EngineOptions engine_options = options.engine;
  engine_options.model = folder;
  std::optional<Progress> progress;
  engine_options.progress = [&](uint64_t done_bytes, uint64_t total_bytes) {
    if (stop_requested()) throw Error(ErrorCode::kCancelled, "stopped");
    if (!progress) progress.emplace("loading", total_bytes);
    progress->update(done_bytes);
  };
  double seconds = 0;
  std::unique_ptr<Engine> engine;
  {
    const Timer timer(&seconds);
    engine = Engine::open(engine_options);
  }
  progress.reset();
  log_debug("{}: loaded in {:.2f} s; experts are read by {}", folder, seconds, engine->io_name());
  for (const std::string& note : engine->notes()) log_info("note: {}", note);
  return engine;
}

}  // namespace flashmoe::cli
