#include "model/generation_config.h"

#include <filesystem>
#include <limits>
#include <system_error>

#include "base/error.h"
#include "format/json_file.h"
#include "model/config_values.h"

namespace flashmoe::model {

namespace fs = std::filesystem;

GenerationDefaults parse_generation_defaults(const nlohmann::json& json, const std::string& source,
                                             const ModelConfig& config) {
  if (!json.is_object()) throw_error(ErrorCode::kCorrupt, "{}: is not a JSON object", source);
  const Values values(json, source, "");
  GenerationDefaults result;
  result.eos_ids = values.has("eos_token_id") ? values.token_ids("eos_token_id") : config.eos_ids;
  result.do_sample = values.flag("do_sample", result.do_sample);
  result.temperature = values.number("temperature", result.temperature, 0, 1e6);
  result.top_k = values.size("top_k", result.top_k, std::numeric_limits<int>::max(), 0);
  result.top_p = values.number("top_p", result.top_p, 0, 1);
  result.min_p = values.number("min_p", result.min_p, 0, 1);
  result.repetition_penalty =
      values.number("repetition_penalty", result.repetition_penalty, 1e-6, 1e6);
  return result;
}

GenerationDefaults read_generation_defaults(const std::string& folder, const ModelConfig& config) {
  const std::string path = (fs::path(folder) / "generation_config.json").string();
  std::error_code ignored;
  if (!fs::exists(fs::symlink_status(path, ignored))) {
    return parse_generation_defaults(nlohmann::json::object(), path, config);
  }
  return parse_generation_defaults(format::read_json_file(path), path, config);
}

}  // namespace flashmoe::model
