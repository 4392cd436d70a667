#include "convert/text_files.h"

#include <filesystem>
#include <nlohmann/json.hpp>

#include "base/log.h"
#include "engine/text_model.h"
#include "format/flash_moe_folder.h"
#include "format/gguf_checkpoint.h"
#include "format/gguf_header.h"
#include "format/input_file.h"
#include "format/store.h"
#include "text/gguf_text.h"
#include "text/tokenizer_bin.h"
#include "text/tokenizer_json_writer.h"

namespace flashmoe::convert {

namespace fs = std::filesystem;

namespace {

using Json = nlohmann::ordered_json;

Json generation_config(const engine::TextModel& text) {
  const engine::SamplingOptions& sampling = text.sampling();
  Json json = {{"eos_token_id", text.stop_tokens()}, {"do_sample", sampling.temperature > 0}};
  if (sampling.temperature > 0) {
    json["temperature"] = sampling.temperature;
    json["top_k"] = sampling.top_k;
    json["top_p"] = sampling.top_p;
    json["min_p"] = sampling.min_p;
    json["repetition_penalty"] = sampling.repetition_penalty;
  }
  return json;
}

std::map<std::string, std::string> from_gguf(const std::string& file) {
  const format::GgufHeader header = format::read_gguf_header(
      file, 0, [](std::string_view key) { return key == "tokenizer.ggml.model"; });
  if (!header.metadata.contains("tokenizer.ggml.model")) {
    log_warn("{}: has no tokenizer, so neither will the result", file);
    return {};
  }
  const text::GgufText text = engine::read_gguf_text(file);
  Json config = {{"tokenizer_class", "PreTrainedTokenizerFast"},
                 {"clean_up_tokenization_spaces", false},
                 {"add_bos_token", text.first_token().has_value()}};
  for (const auto& [name, token] : text.special_tokens().items()) config[name] = token;
  std::map<std::string, std::string> files = {
      {"tokenizer.json", text::tokenizer_json(text.tokenizer())},
      {"tokenizer_config.json", config.dump(2) + "\n"},
      {"generation_config.json", generation_config(engine::TextModel(file)).dump(2) + "\n"}};
  if (!text.template_source(false).empty()) {
    files["chat_template.jinja"] = text.template_source(false);
  }
  if (!text.template_source(true).empty()) {
    files["additional_chat_templates/tool_use.jinja"] = text.template_source(true);
  }
  return files;
}

}  // namespace

std::map<std::string, std::string> text_files(const std::string& model) {
  const std::string source =
      format::is_store(model) ? format::store_text_source(model) : format::flash_moe_folder(model);
  if (format::is_gguf(source)) return from_gguf(source);
  const std::string binary = source + "/tokenizer.bin";
  if (fs::exists(source + "/tokenizer.json") || !fs::exists(binary)) return {};
  const io::File file = format::open_input(binary);
  return {{"tokenizer.json", text::tokenizer_json(text::parse_tokenizer_bin(
                                 format::read_text(file, 0, file.size()), binary))}};
}

}  // namespace flashmoe::convert
