// Opens an engine as every command does it: with progress on the terminal and the engine's notes.
#pragma once

#include <memory>

#include "cli/commands.h"
#include "flashmoe/engine.h"

namespace flashmoe::cli {

// `folder` comes from model_folder. Throws Error, kCancelled after a stop signal.
std::unique_ptr<Engine> open_engine(const ModelOptions& options, const std::string& folder);

}  // namespace flashmoe::cli
