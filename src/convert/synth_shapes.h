// config.json of the published models that `synth` knows by name. Owns their sizes.
#pragma once

#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace flashmoe::convert {

std::vector<std::string> published_names();

// Without the vision tower, which text needs not. nullopt for a name that is not known.
std::optional<nlohmann::json> published_config(std::string_view name);

// Whether the text model is a part of a larger one.
bool has_text_config(const nlohmann::json& config);

// The same model cut after its first `layers` layers; `config` has at least as many.
nlohmann::json first_layers(nlohmann::json config, int layers);

}  // namespace flashmoe::convert
