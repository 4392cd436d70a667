#include "engine/text_model.h"

#include <filesystem>
#include <utility>

#include "base/error.h"
#include "format/flash_moe_folder.h"
#include "format/gguf_checkpoint.h"
#include "format/gguf_header.h"
#include "format/input_file.h"
#include "format/json_file.h"
#include "format/store.h"
#include "model/config.h"
#include "model/generation_config.h"
#include "text/chatml.h"
#include "text/tokenizer_bin.h"

namespace flashmoe::engine {

namespace {

// Where the text side of a model is: a folder, or a GGUF file.
std::string text_source(const std::string& model) {
  if (format::is_store(model)) return format::store_text_source(model);
  return format::flash_moe_folder(model);
}

text::Tokenizer read_folder_tokenizer(const std::string& folder) {
  const std::string path = folder + "/tokenizer.json", binary = folder + "/tokenizer.bin";
  if (std::filesystem::exists(path)) return text::Tokenizer::from_file(path);
  if (!std::filesystem::exists(binary)) {
    throw_error(
        ErrorCode::kNotFound,
        "{}: the model has no tokenizer.json, so it cannot be given text; put the file there, "
        "or use `flashmoe logits`, which takes token ids",
        folder);
  }
  const io::File file = format::open_input(binary);
  return text::Tokenizer(
      text::parse_tokenizer_bin(format::read_text(file, 0, file.size()), binary));
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
  const nlohmann::json config = format::is_flash_moe(model) ? format::flash_moe_config(model)
                                                            : format::read_json_file(config_path);
  return model::read_generation_defaults(model, model::parse_model_config(config, config_path));
}

}  // namespace

text::GgufText read_gguf_text(const std::string& path) {
  format::GgufHeader header = format::read_gguf_header(
      path, 0, [](std::string_view key) { return key.starts_with("tokenizer."); });
  return {std::move(header.metadata), path};
}

text::Tokenizer read_tokenizer(const std::string& path) {
  const std::string model = text_source(path);
  if (format::is_gguf(model)) return text::Tokenizer(read_gguf_text(model).tokenizer());
  return read_folder_tokenizer(model);
}

std::optional<text::ModelChatTemplate> read_chat_template(const std::string& path,
                                                          bool with_tools) {
  const std::string model = text_source(path);
  if (format::is_gguf(model)) return read_gguf_text(model).chat_template(with_tools);
  return text::load_chat_template(model, with_tools);
}

TextModel::TextModel(const std::string& model, const std::string& template_path)
    : model_(text_source(model)),
      template_path_(template_path),
      gguf_(read_gguf_text_of(model_)),
      tokenizer_(gguf_ ? text::Tokenizer(gguf_->tokenizer()) : read_folder_tokenizer(model_)) {
  const model::GenerationDefaults defaults = generation_defaults(model_);
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
  if (format::is_flash_moe(model_)) fill_gaps();
}

// flash-moe itself needs neither a configuration nor a template, so they may be missing.
void TextModel::fill_gaps() {
  if (stop_tokens_.empty()) {
    for (const char* name : {"<|im_end|>", "<|endoftext|>"}) {
      if (const auto id = tokenizer_.id_of(name)) stop_tokens_.push_back(*id);
    }
  }
  if (!std::filesystem::exists(model_ + "/tokenizer.json")) {
    notes_.push_back(model_ + " has no tokenizer.json: took its tokenizer.bin");
  }
  if (template_path_.empty() && !text::load_chat_template(model_, false)) {
    family_template_ = true;
    notes_.push_back(
        model_ +
        " has no chat template: took the plain form of its family, without tools; name "
        "the model's own with --template");
  }
}

std::optional<text::ModelChatTemplate> TextModel::chat_template(bool with_tools) const {
  const auto parsed = [](std::string source, const std::string& name) {
    return text::ModelChatTemplate{text::ChatTemplate::parse(std::move(source), name),
                                   nlohmann::ordered_json::object()};
  };
  if (!template_path_.empty()) {
    const io::File file = format::open_input(template_path_);
    return parsed(format::read_text(file, 0, file.size()), template_path_);
  }
  if (family_template_) return parsed(text::kChatml, "the family's chat template");
  return gguf_ ? gguf_->chat_template(with_tools) : text::load_chat_template(model_, with_tools);
}

std::vector<int32_t> TextModel::encode_chat(nlohmann::ordered_json variables) const {
  const bool with_tools = variables.contains("tools") && !variables["tools"].empty();
  const std::optional<text::ModelChatTemplate> found = chat_template(with_tools);
  if (!found) {
    throw_error(ErrorCode::kUsage,
                "{}: the model has no chat template; put its chat_template.jinja there or name one "
                "with --template, or continue plain text with --raw",
                model_);
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
