#include "engine/text_model.h"

#include <filesystem>
#include <utility>

#include "base/error.h"
#include "format/gguf_checkpoint.h"
#include "format/gguf_header.h"
#include "format/json_file.h"
#include "model/config.h"
#include "model/generation_config.h"

namespace flashmoe::engine {

namespace {

text::Tokenizer read_folder_tokenizer(const std::string& folder) {
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

std::optional<text::GgufText> read_gguf_text_of(const std::string& model) {
  if (!format::is_gguf(model)) return std::nullopt;
  return read_gguf_text(model);
}

// The keys general.sampling.*, as generation_config.json says the same.
nlohmann::json sampling_json(const nlohmann::json& metadata) {
  constexpr std::pair<const char*, const char*> kNames[] = {
      {"general.sampling.temp", "temperature"},
      {"general.sampling.top_k", "top_k"},
      {"general.sampling.top_p", "top_p"},
      {"general.sampling.min_p", "min_p"},
      {"general.sampling.penalty_repeat", "repetition_penalty"}};
  nlohmann::json json = nlohmann::json::object();
  for (const auto& [key, name] : kNames) {
    const auto value = metadata.find(key);
    if (value == metadata.end()) continue;
    json[name] = *value;
    json["do_sample"] = true;
  }
  return json;
}

model::GenerationDefaults generation_defaults(const std::string& model) {
  if (format::is_gguf(model)) {
    const format::GgufHeader header =
        format::read_gguf_header(model, 0, [](std::string_view) { return false; });
    return model::parse_generation_defaults(sampling_json(header.metadata), model, {});
  }
  const std::string config_path = model + "/config.json";
  return model::read_generation_defaults(
      model, model::parse_model_config(format::read_json_file(config_path), config_path));
}

}  // namespace

text::GgufText read_gguf_text(const std::string& path) {
  format::GgufHeader header = format::read_gguf_header(
      path, 0, [](std::string_view key) { return key.starts_with("tokenizer."); });
  return {std::move(header.metadata), path};
}

text::Tokenizer read_tokenizer(const std::string& model) {
  if (format::is_gguf(model)) return text::Tokenizer(read_gguf_text(model).tokenizer());
  return read_folder_tokenizer(model);
}

std::optional<text::ModelChatTemplate> read_chat_template(const std::string& model,
                                                          bool with_tools) {
  if (format::is_gguf(model)) return read_gguf_text(model).chat_template(with_tools);
  return text::load_chat_template(model, with_tools);
}

TextModel::TextModel(const std::string& model)
    : model_(model),
      gguf_(read_gguf_text_of(model)),
      tokenizer_(gguf_ ? text::Tokenizer(gguf_->tokenizer()) : read_folder_tokenizer(model)) {
  const model::GenerationDefaults defaults = generation_defaults(model);
  if (defaults.do_sample) {
    sampling_.temperature = static_cast<float>(defaults.temperature);
    sampling_.top_k = defaults.top_k;
    sampling_.top_p = static_cast<float>(defaults.top_p);
    sampling_.min_p = static_cast<float>(defaults.min_p);
  } else {
    sampling_.temperature = 0;
  }
  sampling_.repetition_penalty = static_cast<float>(defaults.repetition_penalty);
  if (gguf_) {
    stop_tokens_ = gguf_->end_tokens();
  } else {
    stop_tokens_.assign(defaults.eos_ids.begin(), defaults.eos_ids.end());
  }
}

std::optional<text::ModelChatTemplate> TextModel::chat_template(bool with_tools) const {
  return gguf_ ? gguf_->chat_template(with_tools) : text::load_chat_template(model_, with_tools);
}

std::vector<int32_t> TextModel::encode_chat(nlohmann::ordered_json variables) const {
  const bool with_tools = variables.contains("tools") && !variables["tools"].empty();
  const std::optional<text::ModelChatTemplate> found = chat_template(with_tools);
  if (!found) {
    throw_error(ErrorCode::kUsage,
                "{}: the model has no chat template; continue plain text with --raw", model_);
  }
  // As transformers passes them, always: some templates tell "none" from "not there".
  for (const char* name : {"tools", "documents"}) {
    if (!variables.contains(name)) variables[name] = nullptr;
  }
  variables["add_generation_prompt"] = true;
  return tokenizer_.encode(found->render(variables));
}

std::vector<int32_t> TextModel::encode_text(const std::string& text, bool parse_special) const {
  std::vector<int32_t> ids = tokenizer_.encode(text, parse_special);
  if (gguf_ && gguf_->first_token()) ids.insert(ids.begin(), *gguf_->first_token());
  return ids;
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
