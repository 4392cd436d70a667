#include <string>

#include "base/error.h"
#include "base/format_units.h"
#include "cli/parse.h"

namespace flashmoe::cli {

namespace {

constexpr const char* kServeAbout =
    "Answers programs over HTTP, as OpenAI's and Anthropic's APIs do.\n\n"
    "  flashmoe serve ~/models/Qwen3.5-35B-A3B-4bit\n"
    "  curl http://127.0.0.1:8080/v1/chat/completions -d \\\n"
    "    '{\"messages\": [{\"role\": \"user\", \"content\": \"Hello\"}]}'\n\n"
    "OpenAI clients take http://127.0.0.1:8080/v1 as their base URL, Anthropic's the same without\n"
    "/v1. / is a page to chat on, /openapi.json describes the routes, /stats and flashmoe top\n"
    "show what goes on. Ctrl-C stops the server.";

void add_size(CLI::App& app, const std::string& name, uint64_t* bytes, const std::string& help) {
  app.add_option_function<std::string>(
         name,
         [name, bytes](const std::string& size) {
           try {
             *bytes = parse_size(size);
           } catch (const Error& error) {
             throw_error(ErrorCode::kUsage, "{}: {}", name, error.what());
           }
         },
         help)
      ->type_name("SIZE");
}

}  // namespace

CLI::App* add_serve(CLI::App& program, ServeOptions* o) {
  CLI::App& app = *program.add_subcommand("serve", kServeAbout);
  app.add_option("MODEL", o->model.model, "Folder or org/name (default: the embedded model)");
  app.add_option("--port", o->port, "Port to listen on; 0: any that is free (default: 8080)")
      ->check(CLI::Range(0, 65535));
  app.add_option("--host", o->host,
                 "Address to listen on (default: 127.0.0.1, this machine only; 0.0.0.0: all)");
  app.add_option("--api-key", o->api_key,
                 "What clients must show, as Authorization: Bearer KEY or x-api-key: KEY")
      ->envname("FLASHMOE_API_KEY");
  app.add_option("--cors", o->cors, "Pages of this ORIGIN may ask from browsers; *: all")
      ->type_name("ORIGIN");
  app.add_option("--name", o->model_name,
                 "What the API calls the model (default: its folder's name)");
  app.add_option("--parallel", o->model.engine.max_sequences,
                 "Answers at once, each with room for a full context (default: 4)")
      ->check(CLI::Range(1, 1024));
  app.add_option("--max-queue", o->max_queue,
                 "Requests that may wait for their turn; more are refused (default: 256)")
      ->check(CLI::Range(1, 1 << 20));
  app.add_option("--max-connections", o->max_connections, "Open connections (default: 512)")
      ->check(CLI::Range(1, 1 << 20));
  add_size(app, "--max-body", &o->max_body_bytes, "The largest request (default: 32MiB)");
  add_size(
      app, "--prefix-cache", &o->model.engine.prefix_cache_bytes,
      "Memory for states of prompts, so that a prompt that begins as another did goes on from\n"
      "there (default: 256MiB)");
  app.add_option("--cache-dir", o->cache_dir, "Keep such states in this folder, too")
      ->type_name("FOLDER");
  add_size(app, "--cache-dir-size", &o->cache_dir_bytes,
           "How much of them; the oldest go first (default: 16GiB)");
  app.add_option("--timeout", o->timeout_s, "Seconds that an answer may take (default: any)")
      ->check(CLI::NonNegativeNumber);
  o->model.engine.max_sequences = 4;
  o->model.engine.prefix_cache_bytes = uint64_t{256} << 20;
  add_template_option(app, &o->model);
  add_model_options(app, &o->model);
  return &app;
}

CLI::App* add_top(CLI::App& program, TopOptions* o) {
  CLI::App& app = *program.add_subcommand(
      "top",
      "Shows what a server does: speeds, hits, memory, queue, sessions. Live in a terminal, until\n"
      "Ctrl-C; once in a pipe.");
  app.add_option("--url", o->url, "The server (default: http://127.0.0.1:8080)");
  app.add_option("--api-key", o->api_key, "Its key")->envname("FLASHMOE_API_KEY");
  app.add_option("--every", o->every_s, "Seconds between two looks (default: 1)")
      ->check(CLI::Range(0.1, 3600.0));
  app.add_flag("--once", o->once, "Once, also in a terminal");
  app.add_flag("--json", o->json, "Once, as the JSON object of /stats");
  return &app;
}

}  // namespace flashmoe::cli
