#include "cli/open_engine.h"

#include <optional>

#include "base/log.h"

namespace flashmoe::cli {

std::unique_ptr<Engine> open_engine(const ModelOptions& options, const std::string& folder) {
  EngineOptions engine_options = options.engine;
  engine_options.model = folder;
  std::optional<Progress> progress;
  engine_options.progress = [&](uint64_t done_bytes, uint64_t total_bytes) {
    if (!progress) progress.emplace("loading", total_bytes);
    progress->update(done_bytes);
  };
  std::unique_ptr<Engine> engine = Engine::open(engine_options);
  progress.reset();
  for (const std::string& note : engine->notes()) log_info("note: {}", note);
  return engine;
}

}  // namespace flashmoe::cli
