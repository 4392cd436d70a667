#include "cli/parse.h"

namespace flashmoe::cli {

namespace {

constexpr const char* kEvalAbout =
    "Says how good a model is: how well it foretells a text, how far it is from a base model "
    "there,\n"
    "and how many tasks it answers exactly.\n\n"
    "  flashmoe eval MODEL --text wiki.txt --base ORIGINAL\n"
    "  flashmoe eval MODEL --tasks tasks.jsonl --json\n"
    "  flashmoe eval A B C --text wiki.txt --tasks tasks.jsonl --base A --table\n"
    "  flashmoe eval MODEL --tasks tasks.jsonl --sweep k=8,6,4\n\n"
    "A text is cut into windows of --context tokens (default 2048), each run with an empty "
    "context;\n"
    "all tokens but the first are scored. Special tokens in it count as such. KL divergence is "
    "that\n"
    "of the model's distributions from the base's, in nats a token: mean, and what 99 and 99.9 % "
    "of\n"
    "the tokens do not exceed. Base and model are open at once, each with half of --memory.\n\n"
    "Tasks are lines of JSON: kind, messages, tools (optional) and want, the exact answer. "
    "Answers\n"
    "are greedy. Valid JSON counts the answers that should have JSON (all that call a tool) and\n"
    "whose JSON parses; a tool call is right when the answer is exactly the wanted one.\n\n"
    "Bytes are those of all weight files; bits a weight are these over the weights of all "
    "matrices.";

}  // namespace

CLI::App* add_eval(CLI::App& app, EvalOptions* o) {
  CLI::App* eval = app.add_subcommand("eval", kEvalAbout);
  eval->add_option("MODEL", o->models,
                   "Folders, .gguf files or org/name (default: the embedded model)");
  eval->add_option("--text", o->text, "Text to foretell (- for standard input)")->type_name("FILE");
  eval->add_option("--tasks", o->tasks, "Tasks to answer")->type_name("FILE.jsonl");
  eval->add_option("--base", o->base, "Model to compare with on the text")->type_name("MODEL");
  eval->add_option("--sweep", o->sweeps, "Settings to compare: k=4,3,2 or kv=f16,f32; repeatable")
      ->type_name("SETTING=VALUE,…")
      ->allow_extra_args(false);
  eval->add_option("--stride", o->stride,
                   "Tokens from one window to the next (default: --context); less is more exact")
      ->check(CLI::Range(int64_t{1}, int64_t{1} << 30));
  eval->add_option("-n,--tokens", o->tokens, "Most tokens of an answer (default: 256)")
      ->check(CLI::Range(int64_t{1}, int64_t{1} << 30));
  eval->add_option("--answers", o->answers, "Write every answer here, one JSON object a line")
      ->type_name("FILE");
  eval->add_flag("--table", o->table, "Print a Markdown table (default for several models)");
  eval->add_flag("--json", o->json, "Print one JSON object; several models are its `rows`");
  add_model_options(*eval, &o->model);
  eval->get_option("--context")->description("Tokens of a window of the text (default: 2048)");
  return eval;
}

}  // namespace flashmoe::cli
