// flashmoe run: one prompt, one answer.
#include <fmt/format.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <random>
#include <string>

#include "base/error.h"
#include "base/log.h"
#include "base/memory_info.h"
#include "base/stop_signal.h"
#include "cli/commands.h"
#include "cli/constraint.h"
#include "cli/locate.h"
#include "cli/open_engine.h"
#include "cli/report.h"
#include "cli/routing_instruments.h"
#include "engine/generate.h"
#include "engine/text_model.h"
#include "text/stream_decoder.h"
#include "text/thinking.h"

namespace flashmoe::cli {

namespace {

using Json = nlohmann::ordered_json;

struct Request {
  std::string model;
  std::string prompt;
};

// A lone argument that looks like org/name may be a prompt after all.
void check_lone_model(const std::string& argument) {
  try {
    model_folder(argument);
  } catch (const Error& error) {
    throw_error(error.code(), "{}; if it is the prompt: flashmoe run -p '{}'", error.what(),
                argument);
  }
}

// Sorts out which of [MODEL] [PROMPT] was given, and where the prompt comes from.
Request find_request(const RunOptions& o) {
  Request request{o.model.model, ""};
  std::optional<std::string> prompt = o.prompt;
  std::vector<std::string> given;
  for (const std::string& argument : {o.first, o.second}) {
    if (!argument.empty()) given.push_back(argument);
  }
  if (given.size() == 2) {
    if (!request.model.empty() || prompt) {
      throw Error(ErrorCode::kUsage, "too many arguments: give the model and the prompt once each");
    }
    request.model = given[0];
    prompt = given[1];
  } else if (given.size() == 1) {
    const bool is_model = request.model.empty() && (prompt || names_model(given[0]));
    if (is_model) {
      if (!prompt && o.file.empty()) check_lone_model(given[0]);
      request.model = given[0];
    } else if (!prompt) {
      prompt = given[0];
    } else {
      throw_error(ErrorCode::kUsage, "both --prompt and '{}' were given", given[0]);
    }
  }
  const bool from_argument = prompt.has_value();
  if (!o.file.empty()) {
    if (prompt)
      throw Error(ErrorCode::kUsage, "give the prompt as an argument or by --file, not both");
    prompt = read_text(o.file, "prompt");
  }
  if (!prompt && isatty(STDIN_FILENO) == 0) prompt = read_text("-", "prompt");
  if (!prompt || prompt->empty()) {
    throw Error(ErrorCode::kUsage,
                "there is no prompt; try: flashmoe run \"Explain quantum computing\"");
  }
  // The newline that ends a file or a line of echo is not part of what the user says.
  if (!from_argument && !o.raw && prompt->ends_with('\n')) prompt->pop_back();
  request.prompt = std::move(*prompt);
  return request;
}

engine::SamplingOptions sampling_options(const RunOptions& o, engine::SamplingOptions s) {
  const auto set = [](const auto& given, auto* value) {
    if (given) *value = static_cast<std::remove_reference_t<decltype(*value)>>(*given);
  };
  set(o.temperature, &s.temperature);
  set(o.top_k, &s.top_k);
  set(o.top_p, &s.top_p);
  set(o.min_p, &s.min_p);
  set(o.repetition_penalty, &s.repetition_penalty);
  set(o.presence_penalty, &s.presence_penalty);
  set(o.frequency_penalty, &s.frequency_penalty);
  s.seed = o.seed ? *o.seed : std::random_device{}();
  s.check();
  return s;
}

std::vector<int32_t> encode_prompt(const RunOptions& o, const engine::TextModel& text,
                                   const std::string& prompt, const text::Thinking& thinking) {
  if (o.raw) return text.encode_text(prompt, o.parse_special);
  Json variables;
  variables["messages"] = Json::array();
  if (o.system) {
    const bool from_file = o.system->starts_with("@");
    const std::string system =
        from_file ? read_text(o.system->substr(1), "system message") : *o.system;
    variables["messages"].push_back({{"role", "system"}, {"content", system}});
  }
  variables["messages"].push_back({{"role", "user"}, {"content", prompt}});
  if (thinking.enabled) variables["enable_thinking"] = *thinking.enabled;
  return text.encode_chat(variables);
}

}  // namespace

int run(const RunOptions& o) {
  const text::Thinking thinking =
      o.think.empty() ? text::Thinking() : text::parse_thinking(o.think, "--think");
  const Request request = find_request(o);
  if (o.raw && (o.system || thinking.enabled)) {
    throw Error(ErrorCode::kUsage,
                "--raw uses no chat template, so --system and --think do nothing");
  }
  install_stop_signal();

  const auto start = std::chrono::steady_clock::now();
  const std::string folder = model_folder(request.model);
  const engine::TextModel text(folder, o.model.template_path);
  for (const std::string& note : text.notes()) log_info("note: {}", note);
  engine::GenerateOptions options;
  options.max_tokens = o.tokens;
  options.sampling = sampling_options(o, text.sampling());
  options.stop_tokens = text.stop_tokens();
  options.think = text.think_budget(thinking.budget);
  const std::vector<int32_t> prompt = encode_prompt(o, text, request.prompt, thinking);
  if (prompt.empty()) throw Error(ErrorCode::kUsage, "the prompt has no tokens");

  // A mistake in the grammar shows before the weights are read.
  std::unique_ptr<text::TokenConstraint> constraint =
      make_constraint(o.grammar, o.json_schema, text.tokenizer());
  const std::unique_ptr<Engine> engine = open_engine(o.model, folder);
  const double load_s =
      std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();

  RoutingInstruments instruments(*engine, o.record_routing, o.experts_report);
  Session session(*engine);
  text::StreamDecoder decoder(text.tokenizer(), true);
  std::string answer;
  const auto emit = [&](const std::string& piece) {
    if (answer.empty() && !piece.empty()) log_debug("the answer begins");
    answer += piece;
    if (o.json) return;
    std::fwrite(piece.data(), 1, piece.size(), stdout);
    flush_output();
  };
  const engine::Generation generation = engine::generate(
      session, prompt, options,
      [&](const engine::TokenEvent& event) { emit(decoder.push(event.token)); }, stop_requested,
      std::move(constraint));
  emit(decoder.finish());
  instruments.finish();

  const RunReport report{generation,
                         engine->stats(),
                         engine->plan(),
                         engine->io_name(),
                         engine->io_reason(),
                         static_cast<int64_t>(prompt.size()),
                         load_s,
                         peak_rss_bytes(),
                         o.timing ? make_forecast(*engine, static_cast<int64_t>(prompt.size()),
                                                  static_cast<int64_t>(generation.tokens.size()))
                                  : std::nullopt};
  if (o.json) {
    Json json;
    json["text"] = answer;
    json["tokens"] = generation.tokens;
    json.update(report_json(report));
    json["seed"] = options.sampling.seed;
    if (instruments.reports()) json["experts"] = instruments.json();
    fmt::print("{}\n", json.dump(-1, ' ', false, Json::error_handler_t::replace));
  } else if (!answer.ends_with('\n')) {
    fmt::print("\n");
  }
  flush_output();
  if (o.timing) fmt::print(stderr, "{}", report_text(report));
  if (instruments.reports() && !o.json) {
    for (const std::string& line : instruments.lines()) fmt::print(stderr, "{}\n", line);
  }
  // An answer cut short is still one, and --json says "cancelled"; no answer is not.
  if (generation.finish == engine::FinishReason::kCancelled && generation.tokens.empty()) {
    throw Error(ErrorCode::kCancelled, "stopped");
  }
  return 0;
}

}  // namespace flashmoe::cli
