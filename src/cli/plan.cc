// flashmoe plan: how a model would run on this machine.
#include <fmt/format.h>

#include <nlohmann/json.hpp>
#include <string>

#include "base/format_units.h"
#include "cli/commands.h"
#include "cli/locate.h"
#include "engine/io_choice.h"
#include "engine/model_plan.h"

namespace flashmoe::cli {

namespace {

using Json = nlohmann::ordered_json;
using engine::ModelPlan;
using engine::Prediction;

Json prediction_json(const Prediction& p) {
  return {{"tok_s", p.tok_s},
          {"bound", engine::bound_name(p.bound)},
          {"bytes_per_token", p.memory_bytes},
          {"state_bytes_per_token", p.state_bytes},
          {"disk_bytes_per_token", p.disk_bytes}};
}

Json plan_json(const ModelPlan& p) {
  const MemoryPlan& m = p.memory;
  Json json;
  json["model"] = p.path;
  json["memory"] = {{"budget", m.budget},
                    {"minimum", m.minimum},
                    {"dense", m.dense},
                    {"cache", m.cache},
                    {"state", m.state},
                    {"staging", m.staging},
                    {"scratch", m.scratch},
                    {"process", m.process},
                    {"all_experts", m.all_experts},
                    {"token_experts", m.token_experts}};
  json["cache_share"] = p.cache_share;
  json["hit_rate"] = p.hit_rate;
  json["uniform_hit_rate"] = p.uniform_hit_rate;
  json["threads"] = p.threads;
  json["context"] = p.context;
  json["chunk"] = p.chunk;
  json["io"] = p.io_name;
  json["io_reason"] = p.io_reason;
  json["limits"] = {{"memory_bytes_s", p.limits.memory_bytes_s},
                    {"int8_ops_s", p.limits.int8_ops_s},
                    {"disk_bytes_s", p.limits.disk_bytes_s}};
  json["generation"] = prediction_json(p.decode);
  json["generation"]["context"] = p.decode_context;
  json["generation_uniform"] = prediction_json(p.uniform_decode);
  json["prompt"] = prediction_json(p.prompt);
  json["prompt"]["tokens"] = p.prompt_tokens;
  json["notes"] = p.notes;
  json["advice"] = p.advice;
  return json;
}

std::string size(double bytes) { return format_bytes(static_cast<uint64_t>(bytes)); }

void print_text(const ModelPlan& p) {
  const MemoryPlan& m = p.memory;
  const auto part = [](const char* name, uint64_t bytes, const std::string& what) {
    fmt::print("  {:<13}{:>10}  {}\n", name, format_bytes(bytes), what);
  };
  fmt::print("{}\n\nmemory         {} of budget; at least {} is needed\n", p.path,
             format_bytes(m.budget), format_bytes(m.minimum));
  part("dense", m.dense, "weights that every token needs");
  part("experts", m.cache,
       fmt::format("cache for {:.1f} % of {}; one token's are {}", 100 * p.cache_share,
                   format_bytes(m.all_experts), format_bytes(m.token_experts)));
  part("context", m.state, fmt::format("keys, values and states of {} tokens", p.context));
  part("activations", m.scratch, fmt::format("steps of up to {} tokens", p.chunk));
  part("staging", m.staging, fmt::format("{} experts on their way from disk", m.staging_buffers));
  part("program", m.process, "code, index, tokenizer");
  fmt::print("\nmachine        {:.1f} GB/s memory, {:.0f} Gop/s int8 with {} threads\n",
             p.limits.memory_bytes_s / 1e9, p.limits.int8_ops_s / 1e9, p.threads);
  if (!p.disk_rates.empty()) fmt::print("disk           {}\n", p.disk_rates);
  fmt::print("reads          {}{}\n", p.io_name,
             p.io_reason.empty() || p.io_reason.starts_with("measured") ? "" : ": " + p.io_reason);
  fmt::print("\ngeneration     {:.1f} tok/s at most, bound by {}\n", p.decode.tok_s,
             engine::bound_name(p.decode.bound));
  fmt::print("  a token reads {} of weights and {} of state at context {}; {} of it from disk\n",
             size(p.decode.memory_bytes), size(p.decode.state_bytes), p.decode_context,
             size(p.decode.disk_bytes));
  if (p.cache_share < 1) {
    fmt::print(
        "  if {:.0f} % of the experts are found resident, as to expect of a trained model;\n"
        "  {:.0f} % and {:.1f} tok/s if all experts were picked evenly\n",
        100 * p.hit_rate, 100 * p.uniform_hit_rate, p.uniform_decode.tok_s);
  }
  fmt::print("prompt         {:.1f} tok/s at most for {} tokens in chunks of {}, bound by {}\n",
             p.prompt.tok_s, p.prompt_tokens, p.chunk, engine::bound_name(p.prompt.bound));
  for (const std::string& note : p.notes) fmt::print("note           {}\n", note);
  for (const std::string& advice : p.advice) fmt::print("to change      {}\n", advice);
}

}  // namespace

int plan(const PlanOptions& o) {
  EngineOptions options = o.model.engine;
  options.model = model_folder(o.model.model);
  const ModelPlan p = engine::plan_model(options, o.remeasure);
  if (o.json) {
    fmt::print("{}\n", plan_json(p).dump(2));
  } else {
    print_text(p);
  }
  return 0;
}

}  // namespace flashmoe::cli
