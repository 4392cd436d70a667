// The command line: what can be said, and what it means. Only this file and the parse_*.cc
// beside it know CLI11.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <exception>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/format_units.h"
#include "base/log.h"
#include "base/stop_signal.h"
#include "cli/commands.h"
#include "cli/parse.h"

namespace flashmoe::cli {
namespace {

constexpr const char* kAbout =
    "flashmoe runs mixture-of-experts language models larger than memory: dense weights stay\n"
    "resident, experts are read from disk as the router picks them.\n\n"
    "A MODEL is a folder with config.json and safetensors files, a .gguf file (or a folder with\n"
    "one), or org/name in the local Hugging Face cache. Without one, commands use the small model\n"
    "that comes with flashmoe.\n\n"
    "Ctrl-C ends an answer where it is, and any other command without output. Exit codes: 0, 1\n"
    "for a failure, 2 for a wrong command line, 130 for a stop before there was a result.";

constexpr const char* kRunAbout =
    "Answers a prompt.\n\n"
    "  flashmoe run \"Explain quantum computing\"\n"
    "  flashmoe run ~/models/Qwen3.5-35B-A3B-4bit \"Write a haiku\" --timing\n"
    "  cat letter.txt | flashmoe run org/name --system \"Summarise the text.\"\n\n"
    "The prompt may also come from --file or a pipe. Sampling follows the model's\n"
    "generation_config.json unless options say otherwise.";

void add_run(CLI::App& app, RunOptions* o) {
  app.add_option("MODEL", o->first, "Folder, .gguf file or org/name (default: the embedded model)");
  app.add_option("PROMPT", o->second, "What to answer; a single argument that names no model");
  app.add_option("-m,--model", o->model.model,
                 "The model, where MODEL could be taken for a prompt");
  app.add_option("-p,--prompt", o->prompt, "The prompt, where PROMPT could be taken for a model");
  app.add_option("-f,--file", o->file, "Read the prompt from a file (- for standard input)");
  app.add_option("--system", o->system, "System message, or @FILE");
  app.add_option("--think", o->think,
                 "Reasoning before the answer: on, off (as is 0), or a budget of N tokens")
      ->type_name("on|off|N");
  app.add_option("--json-schema", o->json_schema,
                 "Hold the answer to a JSON schema: always whole and valid, or refused")
      ->type_name("FILE");
  app.add_option("--grammar", o->grammar, "Hold the answer to a grammar in GBNF")
      ->type_name("FILE")
      ->excludes("--json-schema");
  app.add_flag("--raw", o->raw, "Continue the plain text, without the chat template");
  app.add_flag("--parse-special", o->parse_special,
               "With --raw: special tokens in the text count as such");
  app.add_option("-n,--tokens", o->tokens,
                 "Most tokens to generate (default: until the model stops)")
      ->check(CLI::Range(int64_t{0}, int64_t{1} << 30));
  const char* kSampling = "Sampling";
  app.add_option("--temp,--temperature", o->temperature, "0: always the most probable token")
      ->group(kSampling);
  app.add_option("--top-k", o->top_k, "Only the K most probable tokens; 0: all")->group(kSampling);
  app.add_option("--top-p", o->top_p, "Only the most probable tokens that together reach P")
      ->group(kSampling);
  app.add_option("--min-p", o->min_p, "Only tokens at least P times as probable as the first")
      ->group(kSampling);
  app.add_option("--repetition-penalty", o->repetition_penalty, "Above 1 discourages repetition")
      ->group(kSampling);
  app.add_option("--presence-penalty", o->presence_penalty, "Taken once off tokens already used")
      ->group(kSampling);
  app.add_option("--frequency-penalty", o->frequency_penalty, "Taken off for each time used")
      ->group(kSampling);
  app.add_option("--seed", o->seed, "Equal seeds give equal answers (default: random)")
      ->check(whole_number())
      ->group(kSampling);
  add_template_option(app, &o->model);
  add_model_options(app, &o->model);
  app.add_flag("--timing", o->timing, "Afterwards, say where the time went, on standard error");
  app.add_flag("--experts-report", o->experts_report,
               "Afterwards, say which experts were used, how evenly and how soon again");
  app.add_option("--record-routing", o->record_routing,
                 "Write which experts were picked, for flashmoe bench --routing trace:FILE")
      ->type_name("FILE");
  app.add_flag("--json", o->json, "Print one JSON object instead of text");
}

// The words of the command line, last first, as CLI11 takes them; `--routing trace FILE` becomes
// `--routing trace:FILE`.
std::vector<std::string> reversed_words(int argc, char** argv) {
  std::vector<std::string> words(argv + 1, argv + argc);
  for (size_t i = 0; i + 2 < words.size(); ++i) {
    if (words[i] != "--routing" || words[i + 1] != "trace") continue;
    words[i + 1] += ":" + words[i + 2];
    words.erase(words.begin() + static_cast<std::ptrdiff_t>(i) + 2);
  }
  std::reverse(words.begin(), words.end());
  return words;
}

int parse_and_run(int argc, char** argv) {
  CLI::App app{kAbout, "flashmoe"};
  app.require_subcommand(0, 1);  // none is refused below, in our own words
  app.set_version_flag("--version", FLASHMOE_VERSION);
  bool quiet = false, verbose = false;
  app.add_flag("-q,--quiet", quiet, "No progress and no notes");
  app.add_flag("-v,--verbose", verbose, "Say more of what happens");
  app.fallthrough();

  RunOptions run_options;
  CLI::App* run_app = app.add_subcommand("run", kRunAbout);
  add_run(*run_app, &run_options);

  ChatOptions chat_options;
  CLI::App* chat_app = add_chat(app, &chat_options);

  ServeOptions serve_options;
  CLI::App* serve_app = add_serve(app, &serve_options);
  TopOptions top_options;
  CLI::App* top_app = add_top(app, &top_options);

  InspectOptions inspect_options;
  CLI::App* inspect_app = app.add_subcommand(
      "inspect", "Says what a model is: architecture, quantisation, sizes, what is unused.");
  inspect_app->add_option("MODEL", inspect_options.model, "Folder, .gguf file or org/name");
  inspect_app->add_flag("--json", inspect_options.json, "Print one JSON object");

  PlanOptions plan_options;
  CLI::App* plan_app = app.add_subcommand(
      "plan",
      "Says how a model would run here, before anything of it is loaded: how memory is split,\n"
      "what a token reads, how fast this machine allows that, and what to change.\n\n"
      "  flashmoe plan ~/models/Qwen3.5-35B-A3B-4bit --memory 16GiB\n\n"
      "The machine is measured once, in about two seconds; the figures are kept in\n"
      "~/.cache/flashmoe/limits.json.");
  plan_app->add_option("MODEL", plan_options.model.model, "Folder, .gguf file or org/name");
  add_model_options(*plan_app, &plan_options.model);
  plan_app->add_flag("--json", plan_options.json, "Print one JSON object");
  plan_app->add_flag("--remeasure", plan_options.remeasure, "Measure the machine again");

  LogitsOptions logits_options;
  CLI::App* logits_app = app.add_subcommand(
      "logits", "Writes the logits after each of the given tokens, float32 [tokens, vocabulary].");
  logits_app->add_option("MODEL", logits_options.model.model, "Folder, .gguf file or org/name");
  logits_app->add_option("--ids", logits_options.ids, "File with one token id a line")->required();
  logits_app->add_option("--out", logits_options.out, "The .npy file to write")->required();
  add_model_options(*logits_app, &logits_options.model);

  TokenizeOptions tokenize_options;
  CLI::App* tokenize_app = app.add_subcommand(
      "tokenize", "Turns text on standard input into a JSON array of token ids, or back.");
  tokenize_app->add_option("MODEL", tokenize_options.model,
                           "Folder, .gguf file, org/name or tokenizer.json");
  tokenize_app->add_flag("--parse-special", tokenize_options.parse_special,
                         "Special tokens in the text count as such");
  tokenize_app->add_flag("--decode", tokenize_options.decode,
                         "A JSON array of ids on standard input back to text");

  RenderOptions render_options;
  CLI::App* render_app = app.add_subcommand(
      "render", "Prints what a chat template makes of a conversation, to the byte.");
  render_app->add_option("MODEL", render_options.model,
                         "Folder, .gguf file, org/name or template.jinja");
  render_app
      ->add_option("--context", render_options.context,
                   "JSON file with the template's variables: messages, tools, …")
      ->required();

  QuantizeCommandOptions quantize_options;
  CLI::App* quantize_app = add_quantize(app, &quantize_options);

  ImatrixOptions imatrix_options;
  CLI::App* imatrix_app = add_imatrix(app, &imatrix_options);

  PackCommandOptions pack_options;
  CLI::App* pack_app = app.add_subcommand(
      "pack",
      "Writes a model as a packed store: one aligned record for each expert, as it is\n"
      "computed, so that experts are streamed at the disk's speed, with checksums of every byte.\n"
      "Its weights are those of the source, bit for bit, and every command takes it.\n\n"
      "  flashmoe pack ~/models/Qwen3.5-35B-A3B-4bit /fast/qwen35\n"
      "  flashmoe pack --verify /fast/qwen35\n\n"
      "A run that was ended (Ctrl-C, a full disk, a lost machine) goes on where it was when the\n"
      "same command is given again.");
  pack_app
      ->add_option("SRC", pack_options.source,
                   "Folder, .gguf file or org/name; with --verify, a store")
      ->required();
  pack_app->add_option("OUT", pack_options.destination, "Folder to write");
  pack_app->add_flag("--verify", pack_options.verify,
                     "Read the store (OUT, or SRC alone) and check every byte");
  pack_app
      ->add_option("--threads", pack_options.threads,
                   "Pieces read and written at once (default: 8)")
      ->check(CLI::Range(1, 256));
  pack_app->add_flag("--json", pack_options.json, "Print one JSON object");

  SynthCommandOptions synth_options;
  CLI::App* synth_app = app.add_subcommand(
      "synth",
      "Writes a model of a published shape with random weights, for measuring.\n\n"
      "  flashmoe synth qwen3.5-35b-a3b OUT --bits 4\n\n"
      "NAME: qwen3.5-35b-a3b, qwen3-next-80b-a3b, qwen3.5-122b-a10b, qwen3.5-397b-a17b, or a\n"
      "config.json. Such a model has no tokenizer.");
  synth_app->add_option("NAME", synth_options.model, "The shape")->required();
  synth_app->add_option("OUT", synth_options.destination, "Folder to write")->required();
  synth_app
      ->add_option("--bits", synth_options.bits,
                   "Bits of a weight: 16 (BF16, the default), or fewer in MLX's affine format")
      ->check(CLI::IsMember({2, 3, 4, 5, 6, 8, 16}));
  synth_app->add_option("--layers", synth_options.layers, "Only the first N layers (default: all)")
      ->check(CLI::Range(1, 1 << 16));
  synth_app->add_option("--seed", synth_options.seed, "Equal seeds give equal files (default: 0)")
      ->check(whole_number());

  EvalOptions eval_options;
  CLI::App* eval_app = add_eval(app, &eval_options);

  BenchCommandOptions bench_options;
  CLI::App* bench_app = add_bench(app, &bench_options);

  try {
    app.parse(reversed_words(argc, argv));
  } catch (const CLI::Success& success) {  // --help, --version
    return app.exit(success);
  } catch (const CLI::ParseError& error) {
    app.exit(error);
    return 2;
  }
  set_log_level(quiet ? LogLevel::kQuiet : verbose ? LogLevel::kDebug : LogLevel::kInfo);
  if (app.get_subcommands().empty()) {
    std::vector<std::string> names;
    for (const CLI::App* command : app.get_subcommands([](CLI::App*) { return true; })) {
      names.push_back(command->get_name());
    }
    throw_error(ErrorCode::kUsage, "no command was given; there are {}; flashmoe --help says more",
                fmt::join(names, ", "));
  }
  if (run_app->parsed()) return run(run_options);
  if (chat_app->parsed()) return chat(chat_options);
  if (serve_app->parsed()) return serve(serve_options);
  if (top_app->parsed()) return top(top_options);
  if (inspect_app->parsed()) return inspect(inspect_options);
  if (plan_app->parsed()) return plan(plan_options);
  if (logits_app->parsed()) return logits(logits_options);
  if (tokenize_app->parsed()) return tokenize(tokenize_options);
  if (render_app->parsed()) return render(render_options);
  if (quantize_app->parsed()) return quantize(quantize_options);
  if (pack_app->parsed()) return pack(pack_options);
  if (imatrix_app->parsed()) return imatrix(imatrix_options);
  if (eval_app->parsed()) return eval(eval_options);
  if (bench_app->parsed()) return bench(bench_options);
  return synth(synth_options);
}

}  // namespace

void flush_output() {
  // A failed fwrite of more than a buffer leaves nothing to flush, only the mark.
  if (std::fflush(stdout) != 0 || std::ferror(stdout) != 0) {
    throw_error(ErrorCode::kIo, "cannot write to standard output: {}", std::strerror(errno));
  }
}

}  // namespace flashmoe::cli

int main(int argc, char** argv) {
  int exit_code = 0;
  std::string failure;
  try {
    exit_code = flashmoe::cli::parse_and_run(argc, argv);
    flashmoe::cli::flush_output();
  } catch (const flashmoe::Error& error) {
    failure = error.what();
    exit_code = error.exit_code();
  } catch (const std::exception& error) {  // the standard library's: out of memory
    failure = error.what();
    exit_code = 1;
  }
  flashmoe::end_after_closed_pipe();
  if (!failure.empty()) std::fprintf(stderr, "flashmoe: %s\n", failure.c_str());
  return exit_code;
}
