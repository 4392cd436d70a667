// flashmoe inspect: what a model is.
#include <fmt/format.h>

#include <nlohmann/json.hpp>
#include <string>

#include "base/format_units.h"
#include "cli/commands.h"
#include "cli/locate.h"
#include "engine/describe.h"

namespace flashmoe::cli {

namespace {

double bits_per_weight(const engine::TensorKind& kind) {
  return 8.0 * static_cast<double>(kind.bytes) / static_cast<double>(kind.weights);
}

void print_json(const engine::ModelDescription& d) {
  const model::ModelConfig& c = d.config;
  nlohmann::ordered_json json;
  json["path"] = d.path;
  json["architecture"] = model::family_name(c.family);
  json["layers"] = c.layers;
  json["attention_layers"] = c.attention_layers();
  json["delta_net_layers"] = c.delta_layers();
  json["hidden"] = c.hidden;
  json["vocabulary"] = c.vocab;
  json["max_context"] = c.max_context;
  json["experts"] = c.moe.experts;
  json["experts_per_token"] = c.moe.experts_per_token;
  json["dense_bytes"] = d.dense_bytes;
  json["routed_bytes"] = d.routed_bytes;
  json["token_dense_bytes"] = d.token_dense_bytes;
  json["token_expert_bytes"] = d.token_expert_bytes;
  json["kv_token_bytes"] = d.kv_token_bytes;
  json["recurrent_bytes"] = d.recurrent_bytes;
  for (const engine::TensorKind& k : d.kinds) {
    json["tensors"].push_back({{"kind", k.kind},
                               {"format", k.format},
                               {"weights", k.weights},
                               {"bytes", k.bytes},
                               {"bits_per_weight", bits_per_weight(k)}});
  }
  json["unused"] = d.unused;
  json["unused_bytes"] = d.unused_bytes;
  fmt::print("{}\n", json.dump(2));
}

void print_text(const engine::ModelDescription& d) {
  const model::ModelConfig& c = d.config;
  fmt::print("{}\n", d.path);
  fmt::print(
      "architecture   {}: {} layers ({} attention, {} delta net), hidden {}, vocabulary {}, "
      "context {}\n",
      model::family_name(c.family), c.layers, c.attention_layers(), c.delta_layers(), c.hidden,
      c.vocab, c.max_context);
  if (c.moe.experts > 0) {
    fmt::print("experts        {} in each of {} layers, {} used by a token, intermediate {}{}\n",
               c.moe.experts, c.routed_layers(), c.moe.experts_per_token, c.moe.intermediate,
               c.moe.shared_intermediate > 0
                   ? fmt::format(", and a shared one of {}", c.moe.shared_intermediate)
                   : "");
  }
  fmt::print("\n{:<22}{:<20}{:>14}{:>12}{:>8}\n", "tensors", "format", "weights", "size", "bits");
  for (const engine::TensorKind& k : d.kinds) {
    fmt::print("{:<22}{:<20}{:>14}{:>12}{:>8.2f}\n", k.kind, k.format, k.weights,
               format_bytes(k.bytes), bits_per_weight(k));
  }
  fmt::print("\ndense          {} resident, needed by every token\n", format_bytes(d.dense_bytes));
  fmt::print("routed         {} of experts, streamed as needed\n", format_bytes(d.routed_bytes));
  fmt::print("a token reads  {} dense and {} of experts\n", format_bytes(d.token_dense_bytes),
             format_bytes(d.token_expert_bytes));
  fmt::print("a sequence     {} a token of keys and values in f16, {} of delta net state\n",
             format_bytes(d.kv_token_bytes), format_bytes(d.recurrent_bytes));
  if (!d.unused.empty()) {
    fmt::print("not used       {} tensors, {}: {}{}\n", d.unused.size(),
               format_bytes(d.unused_bytes), d.unused.front(), d.unused.size() > 1 ? ", …" : "");
  }
}

}  // namespace

int inspect(const InspectOptions& o) {
  const engine::ModelDescription description = engine::describe(model_folder(o.model));
  if (o.json) {
    print_json(description);
  } else {
    print_text(description);
  }
  return 0;
}

}  // namespace flashmoe::cli
