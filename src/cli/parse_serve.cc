#include <string>

#include "base/error.h"
#include "base/format_units.h"
#include "cli/parse.h"

namespace flashmoe::cli {

void add_serve(CLI::App& app, ServeOptions* o) {
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
      ->check(CLI::Range(0, 1 << 20));
  app.add_option("--max-connections", o->max_connections, "Open connections (default: 512)")
      ->check(CLI::Range(1, 1 << 20));
  app.add_option_function<std::string>(
         "--max-body",
         [o](const std::string& size) {
           try {
             o->max_body_bytes = parse_size(size);
           } catch (const Error& error) {
             throw_error(ErrorCode::kUsage, "--max-body: {}", error.what());
           }
         },
         "The largest request (default: 32MiB)")
      ->type_name("SIZE");
  app.add_option("--timeout", o->timeout_s, "Seconds that an answer may take (default: any)")
      ->check(CLI::NonNegativeNumber);
  o->model.engine.max_sequences = 4;
  add_model_options(app, &o->model);
}

}  // namespace flashmoe::cli
