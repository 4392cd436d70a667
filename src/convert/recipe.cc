#include "convert/recipe.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <filesystem>
#include <iterator>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "format/input_file.h"

namespace flashmoe::convert {

namespace {

using nlohmann::json;

constexpr int kBits[] = {2, 3, 4, 5, 6, 8};
constexpr int kGroups[] = {128, 64, 32};

// The kinds, and how a path tells them: by what it ends with, the first that fits.
struct Kind {
  const char* name;
  const char* ending;
};
constexpr Kind kKinds[] = {
    {"embedding", "embed_tokens"},
    {"head", "lm_head"},
    {"attention_out", "self_attn.o_proj"},
    {"attention_qk", "self_attn.q_proj"},
    {"attention_qk", "self_attn.k_proj"},
    {"attention_v", "self_attn.v_proj"},
    {"delta_net_out", "linear_attn.out_proj"},
    {"delta_net_gates", "linear_attn.in_proj_a"},
    {"delta_net_gates", "linear_attn.in_proj_b"},
    {"delta_net_gates", "linear_attn.in_proj_ba"},
    {"delta_net", "linear_attn.in_proj_qkv"},
    {"delta_net", "linear_attn.in_proj_z"},
    {"delta_net", "linear_attn.in_proj_qkvz"},
    {"router", "mlp.gate"},
    {"shared_expert_gate", "mlp.shared_expert_gate"},
    {"shared_expert", "mlp.shared_expert.gate_proj"},
    {"shared_expert", "mlp.shared_expert.up_proj"},
    {"shared_expert_down", "mlp.shared_expert.down_proj"},
    {"experts_gate", "mlp.switch_mlp.gate_proj"},
    {"experts_up", "mlp.switch_mlp.up_proj"},
    {"experts_down", "mlp.switch_mlp.down_proj"},
    {"dense", "mlp.gate_proj"},
    {"dense", "mlp.up_proj"},
    {"dense_down", "mlp.down_proj"},
};

constexpr const char* kMinMax = R"({
  "about": "mlx-lm's conversion, to the bit: codes spread from the smallest to the largest weight",
  "rounding": "plain",
  "kinds": {
    "router": {"bits": 8, "group": 64},
    "shared_expert_gate": {"bits": 8, "group": 64}
  }
}
)";

constexpr const char* kEven = R"({
  "about": "the bits of minmax, chosen by least squares",
  "rounding": "fitted",
  "kinds": {
    "router": {"bits": 8, "group": 64},
    "shared_expert_gate": {"bits": 8, "group": 64}
  }
}
)";

// Experts are nearly all of a model, so what every token passes through costs little to keep.
constexpr const char* kMixed = R"({
  "about": "experts at the bits asked for, what every token passes through higher",
  "rounding": "fitted",
  "kinds": {
    "router": {"bits": 8, "group": 64},
    "shared_expert_gate": {"bits": 8, "group": 64},
    "delta_net_gates": {"bits": 8, "group": 64},
    "attention_out": {"at_least": 6},
    "delta_net_out": {"at_least": 6},
    "shared_expert": {"at_least": 5},
    "shared_expert_down": {"at_least": 6}
  }
}
)";

// For 2 and 3 bits. At 2 bits, 2.72 bits a weight over all files of the embedded model, of which
// experts are 86 %.
constexpr const char* kMixedLow = R"({
  "about": "experts at the bits asked for, what every token passes through at 4 to 6",
  "rounding": "fitted",
  "group": 128,
  "kinds": {
    "router": {"bits": 8, "group": 64},
    "shared_expert_gate": {"bits": 8, "group": 64},
    "delta_net_gates": {"bits": 8, "group": 64},
    "attention_out": {"at_least": 5},
    "attention_v": {"at_least": 5},
    "attention_qk": {"at_least": 4},
    "delta_net_out": {"at_least": 5},
    "delta_net": {"at_least": 4},
    "shared_expert": {"at_least": 5},
    "shared_expert_down": {"at_least": 6},
    "experts_down": {"group": 64},
    "embedding": {"at_least": 5},
    "head": {"at_least": 5}
  }
}
)";

[[noreturn]] void fail(const std::string& name, const std::string& what) {
  throw_error(ErrorCode::kUsage, "{}: {}; flashmoe quantize --print-recipe shows one", name, what);
}

int number(const json& value, const std::string& name, const std::string& key) {
  const bool is_group = key.ends_with("group");
  const bool known =
      value.is_number_integer() &&
      (is_group ? std::find(std::begin(kGroups), std::end(kGroups), value) != std::end(kGroups)
                : std::find(std::begin(kBits), std::end(kBits), value) != std::end(kBits));
  if (!known) {
    fail(name, fmt::format("`{}` is {}, not one of {}", key, value.dump(),
                           is_group ? "32, 64, 128" : "2, 3, 4, 5, 6, 8"));
  }
  return value.get<int>();
}

Recipe::Rule parse_rule(const json& value, const std::string& name, const std::string& kind) {
  if (!value.is_object()) fail(name, fmt::format("`{}` is no object", kind));
  Recipe::Rule rule;
  for (const auto& [key, entry] : value.items()) {
    const std::string where = kind + "." + key;
    if (key == "bits") {
      rule.bits = number(entry, name, where);
    } else if (key == "at_least") {
      rule.at_least = number(entry, name, where);
    } else if (key == "group") {
      rule.group = number(entry, name, where);
    } else {
      fail(name, fmt::format("`{}` is not known: bits, at_least and group are", where));
    }
  }
  return rule;
}

}  // namespace

std::optional<MlxFormat> Recipe::format_of(std::string_view path, int64_t cols) const {
  MlxFormat result = format;
  if (const auto found = kinds.find(kind_of_matrix(path)); found != kinds.end()) {
    const Rule& rule = found->second;
    if (rule.bits) result.bits = *rule.bits;
    if (rule.at_least) result.bits = std::max(result.bits, *rule.at_least);
    if (rule.group) result.group = *rule.group;
  }
  if (rounding == Rounding::kPlain) {  // as mlx-lm: all or nothing, by the default's group too
    if (cols % format.group != 0 || cols % result.group != 0) return std::nullopt;
    return result;
  }
  while (cols % result.group != 0) {
    if (result.group == 32) return std::nullopt;
    result.group /= 2;
  }
  return result;
}

Recipe parse_recipe(std::string_view text, const std::string& name, const RecipeChanges& changes) {
  const json recipe = json::parse(text, nullptr, false, true);
  if (!recipe.is_object()) fail(name, "is no JSON object");
  Recipe result;
  for (const auto& [key, value] : recipe.items()) {
    if (key == "about") {
      continue;
    } else if (key == "rounding" && (value == "plain" || value == "fitted")) {
      result.rounding = value == "plain" ? Recipe::Rounding::kPlain : Recipe::Rounding::kFitted;
    } else if (key == "rounding") {
      fail(name, "`rounding` is plain or fitted");
    } else if (key == "bits") {
      result.format.bits = number(value, name, key);
    } else if (key == "group") {
      result.format.group = number(value, name, key);
    } else if (key == "kinds" && value.is_object()) {
      for (const auto& [kind, rule] : value.items()) {
        if (std::none_of(std::begin(kKinds), std::end(kKinds),
                         [&kind = kind](const Kind& k) { return kind == k.name; })) {
          fail(name, fmt::format("`{}` is no kind of matrix", kind));
        }
        result.kinds[kind] = parse_rule(rule, name, kind);
      }
    } else {
      fail(name, fmt::format("`{}` is not known or has the wrong type", key));
    }
  }
  if (changes.bits) result.format.bits = number(*changes.bits, name, "bits");
  if (changes.group) result.format.group = number(*changes.group, name, "group");
  return result;
}

const char* built_in_recipe(std::string_view name, int bits) {
  if (name == "minmax") return kMinMax;
  if (name == "even") return kEven;
  if (name == "mixed") return bits == 2 || bits == 3 ? kMixedLow : kMixed;
  return nullptr;
}

std::vector<std::string> built_in_recipe_names() { return {"mixed", "even", "minmax"}; }

std::string recipe_text(const std::string& recipe, int bits) {
  if (const char* text = built_in_recipe(recipe, bits)) return text;
  if (!std::filesystem::exists(recipe)) {
    throw_error(ErrorCode::kUsage, "{}: is no built-in recipe ({}) and no file", recipe,
                fmt::join(built_in_recipe_names(), ", "));
  }
  const io::File file = format::open_input(recipe);
  constexpr uint64_t kMostBytes = 1 << 20;
  if (file.size() > kMostBytes) {
    throw_error(ErrorCode::kUsage, "{}: is too large for a recipe", recipe);
  }
  return format::read_text(file, 0, file.size());
}

std::string kind_of_matrix(std::string_view path) {
  const auto found = std::find_if(std::begin(kKinds), std::end(kKinds),
                                  [&](const Kind& kind) { return path.ends_with(kind.ending); });
  return found == std::end(kKinds) ? "" : found->name;
}

}  // namespace flashmoe::convert
