// How a model's makers want it sampled, from generation_config.json. Owns the names and defaults
// (those of transformers); sampling itself lies in engine/.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "model/config.h"

namespace flashmoe::model {

struct GenerationDefaults {
  std::vector<int> eos_ids;         // tokens that end a sequence
  bool do_sample = false;           // false: the most likely token always
  double temperature = 1.0;         // [0, 1e6]; 0 as do_sample = false
  int top_k = 50;                   // 0: all tokens
  double top_p = 1.0;               // [0, 1]
  double min_p = 0.0;               // [0, 1]
  double repetition_penalty = 1.0;  // [1e-6, 1e6]
};

// `source` is the file's path, for messages. Tokens that end a sequence are `config`'s where the
// file names none. Throws Error kCorrupt with key and value.
GenerationDefaults parse_generation_defaults(const nlohmann::json& json, const std::string& source,
                                             const ModelConfig& config);

// From generation_config.json in the model's folder; without one, the defaults.
GenerationDefaults read_generation_defaults(const std::string& folder, const ModelConfig& config);

}  // namespace flashmoe::model
