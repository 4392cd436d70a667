#include <string>

#include "cli/parse.h"

namespace flashmoe::cli {

CLI::App* add_chat(CLI::App& parent, ChatOptions* o) {
  CLI::App& app = *parent.add_subcommand(
      "chat",
      "Talks with a model in the terminal.\n\n"
      "  flashmoe chat ~/models/Qwen3.5-35B-A3B-4bit\n"
      "  flashmoe chat --url http://127.0.0.1:8080\n"
      "  flashmoe chat --resume 20261121-093000\n\n"
      "/help lists the commands. Ctrl-C stops an answer, Ctrl-D leaves; conversations are kept in\n"
      "~/.local/share/flashmoe/sessions.");
  app.add_option("MODEL", o->model.model, "Folder or org/name (default: the embedded model)");
  app.add_option("--url", o->url, "Talk to a server that runs already, e.g. http://127.0.0.1:8080");
  app.add_option("--api-key", o->api_key, "With --url: the key that the server wants")
      ->envname("FLASHMOE_API_KEY");
  app.add_option("--resume", o->resume, "Go on with a conversation: its ID, or a file")
      ->type_name("ID");
  app.add_flag("--sessions", o->list_sessions, "List the conversations that are kept, and leave");
  app.add_option("--system", o->system, "System message, or @FILE");
  app.add_flag("--show-think{dim}", o->show_think,
               "How reasoning is shown: --show-think=hide (the default), dim or show; alone: dim");
  app.add_option("--think", o->think,
                 "Reasoning before answers: on, off (as is 0), or a budget of N tokens")
      ->type_name("on|off|N");
  app.add_flag("--shell", o->shell, "Let the model ask to run commands; you allow each of them");
  app.add_option("--tools", o->tools, "JSON file of commands that the model may call as tools")
      ->type_name("FILE");
  app.add_option("-n,--tokens", o->settings["max_tokens"], "Most tokens of an answer");
  const char* kSampling = "Sampling";
  app.add_option("--temp,--temperature", o->settings["temperature"],
                 "0: always the most probable token")
      ->group(kSampling);
  app.add_option("--top-k", o->settings["top_k"], "Only the K most probable tokens; 0: all")
      ->group(kSampling);
  app.add_option("--top-p", o->settings["top_p"],
                 "Only the most probable tokens that together reach P")
      ->group(kSampling);
  app.add_option("--min-p", o->settings["min_p"],
                 "Only tokens at least P times as probable as the first")
      ->group(kSampling);
  app.add_option("--repetition-penalty", o->settings["repetition_penalty"],
                 "Above 1 discourages repetition")
      ->group(kSampling);
  app.add_option("--seed", o->settings["seed"], "Equal seeds give equal answers (default: random)")
      ->group(kSampling);
  add_template_option(app, &o->model);
  add_model_options(app, &o->model);
  return &app;
}

}  // namespace flashmoe::cli
