// Parts of the command line that are more than a few lines. Owns the names and help of options, not
// what they mean.
#pragma once

#include <CLI/CLI.hpp>

#include "cli/commands.h"

namespace flashmoe::cli {

// For an option of type uint64_t: CLI11 itself takes -1, and what is too large for the largest
// number there is.
CLI::Validator whole_number();

// Of the commands that hold conversations.
void add_template_option(CLI::App& app, ModelOptions* options);
// The options of every command that runs a model, but for the model itself.
void add_model_options(CLI::App& app, ModelOptions* options);

CLI::App* add_chat(CLI::App& app, ChatOptions* options);
CLI::App* add_serve(CLI::App& app, ServeOptions* options);
CLI::App* add_top(CLI::App& app, TopOptions* options);
CLI::App* add_quantize(CLI::App& app, QuantizeCommandOptions* options);
CLI::App* add_imatrix(CLI::App& app, ImatrixOptions* options);
CLI::App* add_eval(CLI::App& app, EvalOptions* options);

// `flashmoe bench` with its benchmarks; options->bench is filled in by parsing.
CLI::App* add_bench(CLI::App& app, BenchCommandOptions* options);

}  // namespace flashmoe::cli
