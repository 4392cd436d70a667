#include "engine/text_model.h"

#include <filesystem>
#include <utility>

#include "base/error.h"
#include "format/json_file.h"
#include "model/config.h"
#include "model/generation_config.h"

namespace flashmoe::engine {

namespace {

text::Tokenizer read_tokenizer(const std::string& folder) {
  const std::string path = folder + "/tokenizer.json";
  if (!std::filesystem::exists(path)) {
    throw_error(
        ErrorCode::kNotFound,
        "{}: the model has no tokenizer.json, so it cannot be given text; put the file there, "
        "or use `flashmoe logits`, which takes token ids",
        folder);
  }
  return text::Tokenizer::from_file(path);
}

}  // namespace

TextModel::TextModel(const std::string& folder)
    : folder_(folder), tokenizer_(read_tokenizer(folder)) {
  const std::string config_path = folder + "/config.json";
  const model::ModelConfig config =
      model::parse_model_config(format::read_json_file(config_path), config_path);
  const model::GenerationDefaults defaults = model::read_generation_defaults(folder, config);
  if (defaults.do_sample) {
    sampling_.temperature = static_cast<float>(defaults.temperature);
    sampling_.top_k = defaults.top_k;
    sampling_.top_p = static_cast<float>(defaults.top_p);
    sampling_.min_p = static_cast<float>(defaults.min_p);
  } else {
    sampling_.temperature = 0;
  }
  sampling_.repetition_penalty = static_cast<float>(defaults.repetition_penalty);
  stop_tokens_.assign(defaults.eos_ids.begin(), defaults.eos_ids.end());
}

std::optional<text::ModelChatTemplate> TextModel::chat_template(bool with_tools) const {
  return text::load_chat_template(folder_, with_tools);
}

std::vector<int32_t> TextModel::encode_chat(nlohmann::ordered_json variables) const {
  const bool with_tools = variables.contains("tools") && !variables["tools"].empty();
  const std::optional<text::ModelChatTemplate> found = chat_template(with_tools);
  if (!found) {
    throw_error(ErrorCode::kUsage,
                "{}: the model has no chat template; continue plain text with --raw", folder_);
  }
  // As transformers passes them, always: some templates tell "none" from "not there".
  for (const char* name : {"tools", "documents"}) {
    if (!variables.contains(name)) variables[name] = nullptr;
  }
  variables["add_generation_prompt"] = true;
  return tokenizer_.encode(found->render(variables));
}

ThinkBudget TextModel::think_budget(int64_t limit) const {
  ThinkBudget budget;
  const std::optional<int32_t> open = tokenizer_.id_of("<think>");
  if (!open || !tokenizer_.id_of("</think>")) return budget;
  budget.limit = limit;
  budget.open = *open;
  // The blank line that follows in the models' own answers.
  budget.close = tokenizer_.encode("</think>\n\n", true);
  return budget;
}

}  // namespace flashmoe::engine
