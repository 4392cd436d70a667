#include <fmt/format.h>

#include <charconv>
#include <limits>
#include <map>
#include <string>

#include "base/error.h"
#include "base/format_units.h"
#include "cli/parse.h"

namespace flashmoe::cli {

namespace {

uint64_t memory_bytes(const std::string& size) {
  try {
    return parse_size(size);
  } catch (const Error& error) {
    throw_error(ErrorCode::kUsage, "--memory: {}", error.what());
  }
}

}  // namespace

CLI::Validator whole_number() {
  const auto check = [](std::string& text) {
    uint64_t value = 0;
    const auto [rest, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error == std::errc() && rest == text.data() + text.size()) return std::string();
    return fmt::format("{} is no whole number from 0 to {}", text,
                       std::numeric_limits<uint64_t>::max());
  };
  return {check, ""};
}

void add_template_option(CLI::App& app, ModelOptions* o) {
  app.add_option("--template", o->template_path,
                 "A Jinja chat template in place of the model's own")
      ->type_name("FILE");
}

void add_model_options(CLI::App& app, ModelOptions* o) {
  static const std::map<std::string, IoMode> kIo{{"auto", IoMode::kAuto},
                                                 {"uring", IoMode::kUring},
                                                 {"pread", IoMode::kPread},
                                                 {"buffered", IoMode::kBuffered}};
  static const std::map<std::string, KvType> kKv{{"f16", KvType::kF16}, {"f32", KvType::kF32}};
  EngineOptions& e = o->engine;
  app.add_option_function<std::string>(
         "--memory", [&e](const std::string& size) { e.memory_bytes = memory_bytes(size); },
         "All the memory that may be used, e.g. 16GiB (default: what is available, less headroom)")
      ->type_name("SIZE")
      ->group("Engine");
  app.add_option_function<std::string>(
         "--io", [&e](const std::string& name) { e.io = kIo.at(name); },
         "How experts are read: auto, uring, pread, or buffered (pread through the page cache)")
      ->check(CLI::IsMember({"auto", "uring", "pread", "buffered"}))
      ->group("Engine");
  app.add_option("--threads", e.threads, "Threads that compute (default: one for each CPU)")
      ->check(CLI::Range(1, 1024))
      ->group("Engine");
  app.add_option("--backend", e.backend,
                 "cpu: fast, rounds activations to 8 bits; ref: plain float32, slow and exact")
      ->check(CLI::IsMember({"cpu", "ref"}))
      ->group("Engine");
  app.add_flag(
         "--exact", e.exact,
         "Compute with float32 activations: the logits of --backend ref to 1e-4, at some cost")
      ->group("Engine");
  app.add_option("--context", e.context,
                 "Tokens of prompt and answer together (default: 8192, or the model's limit)")
      ->check(CLI::Range(1, 1 << 30))
      ->group("Engine");
  app.add_option("--chunk", e.chunk,
                 "Prompt tokens of one step (default: what suits model and memory; plan says it)")
      ->check(CLI::Range(1, 1 << 20))
      ->group("Engine");
  app.add_option_function<std::string>(
         "--kv", [&e](const std::string& name) { e.kv = kKv.at(name); },
         "Storage of keys and values: f16 or f32 (default: f16; f32 with --exact or --backend ref)")
      ->check(CLI::IsMember({"f16", "f32"}))
      ->group("Engine");
  app.add_flag("--look-ahead,!--no-look-ahead", e.look_ahead,
               "Guess the next layer's experts and read them ahead, as long as most guesses come "
               "true (default), or not")
      ->group("Engine");
  app.add_flag("--checksums", e.checksums,
               "Check all that is read of a packed store before it is used (see flashmoe pack)")
      ->group("Engine");
  app.add_option("-k,--experts", e.experts_per_token,
                 "Experts for each token (default: as trained; fewer is faster, and lossy)")
      ->check(CLI::Range(1, 1 << 16))
      ->group("Engine");
}

}  // namespace flashmoe::cli
