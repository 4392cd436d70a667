#include <string>

#include "cli/parse.h"
#include "experts/routing_source.h"

namespace flashmoe::cli {

namespace {

constexpr const char* kBenchAbout =
    "Measures speeds, each beside the limit of this machine that bounds it.\n\n"
    "  flashmoe bench decode ~/models/Qwen3.5-35B-A3B-4bit --context 8192\n"
    "  flashmoe bench decode MODEL --memory 16GiB --routing synthetic --results results.tsv\n"
    "  flashmoe bench prefill MODEL --tokens 2048\n"
    "  flashmoe bench kernels --format 4bit,q4_k,q6_k\n"
    "  flashmoe bench cache qwen3-next-80b-a3b --routing synthetic --cache 10%,8GiB\n\n"
    "Limits are measured right before and after each figure, memory also amid decoding, with the\n"
    "same threads. cold: experts are read from disk for the first time; warm: the cache\n"
    "holds what it can. --context counts positions before the first token that is measured; of\n"
    "more than 512 the keys and values are those of the first 512 again and again, which takes\n"
    "the same time. Random weights route evenly, where no cache can do better than its share:\n"
    "--routing synthetic routes as trained models do, and is guessed ahead as well as they are.";

constexpr const char* kGroup = "Benchmark";

void add_common(CLI::App& app, BenchCommandOptions* o) {
  app.add_flag("--json", o->json, "Print one JSON object")->group(kGroup);
  app.add_option("--repeat", o->repeat, "Measurements; the median counts (default: 3)")
      ->check(CLI::Range(1, 1000))
      ->group(kGroup);
  app.add_option("--results", o->results,
                 "Add a row to this history of runs (tools/plot_results.py)")
      ->type_name("FILE")
      ->group(kGroup);
  app.add_option("--verdict", o->verdict, "For the history: keep or discard (default: keep)")
      ->check(CLI::IsMember({"keep", "discard"}))
      ->group(kGroup);
  app.add_option("--note", o->note, "For the history: what was tried")->group(kGroup);
  app.add_option("--seed", o->seed, "Equal seeds give equal tokens and routes (default: 1)")
      ->check(whole_number())
      ->group(kGroup);
}

CLI::App* add_one(CLI::App& bench, BenchCommandOptions* o, const char* name, const char* about,
                  bool model) {
  CLI::App* app = bench.add_subcommand(name, about);
  app->callback([o, name] { o->bench = name; });
  add_common(*app, o);
  if (!model) return app;
  app->add_option("MODEL", o->model.model,
                  "Folder, .gguf file or org/name (default: the embedded model)");
  add_model_options(*app, &o->model);
  return app;
}

void add_routing(CLI::App& app, BenchCommandOptions* o) {
  app.add_option(
         "--routing", o->routing,
         std::string("Who picks the experts: ") + experts::kRoutingHelp + " (default: model)")
      ->group(kGroup);
}

void add_tokens(CLI::App& app, BenchCommandOptions* o, const char* help) {
  app.add_option("--tokens", o->tokens, help)
      ->check(CLI::Range(int64_t{1}, int64_t{1} << 20))
      ->group(kGroup);
}

}  // namespace

CLI::App* add_bench(CLI::App& app, BenchCommandOptions* o) {
  CLI::App* bench = app.add_subcommand("bench", kBenchAbout);
  bench->require_subcommand(1);

  CLI::App* decode = add_one(*bench, o, "decode", "Generation, one token after the other", true);
  add_routing(*decode, o);
  add_tokens(*decode, o, "Tokens of each measurement (default: 32)");
  CLI::App* prefill = add_one(*bench, o, "prefill", "Prompts, chunk by chunk", true);
  add_routing(*prefill, o);
  add_tokens(*prefill, o, "Tokens of the prompt (default: 512)");
  CLI::App* experts_app = add_one(*bench, o, "experts", "The work of the experts alone", true);
  add_routing(*experts_app, o);
  add_tokens(*experts_app, o, "Steps of each measurement (default: 32)");
  experts_app->add_option("--batch", o->batch, "Rows of a step (default: 1)")
      ->check(CLI::Range(int64_t{1}, int64_t{1} << 14))
      ->group(kGroup);
  add_one(*bench, o, "io", "Reading experts from disk, in every way", true);
  CLI::App* products = add_one(*bench, o, "kernels",
                               "Matrix products from memory, by bits and instruction set", false);
  products->add_option("--threads", o->model.engine.threads, "Threads (default: one for each CPU)")
      ->check(CLI::Range(1, 1024))
      ->group("Engine");
  products
      ->add_option("--format", o->formats,
                   "Formats to measure, e.g. 4bit,q4_k,mxfp4,bf16 (default: all, which takes "
                   "minutes; a wrong name lists them)")
      ->delimiter(',')
      ->type_name("NAME,...")
      ->group(kGroup);
  CLI::App* cache = add_one(*bench, o, "cache",
                            "Eviction policies and predictors on a routing, without a disk; MODEL "
                            "may be a shape that synth knows",
                            true);
  add_routing(*cache, o);
  add_tokens(*cache, o, "Tokens to route (default: 600, or all of a trace)");
  cache
      ->add_option("--cache", o->caches,
                   "Cache sizes to compare, e.g. 12.5%,8GiB (default: 4%,12.5%,25%,50%)")
      ->delimiter(',')
      ->group(kGroup);
  return bench;
}

}  // namespace flashmoe::cli
