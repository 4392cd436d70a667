#include "text/gguf_text.h"

#include <algorithm>
#include <iterator>
#include <string_view>
#include <utility>

#include "base/error.h"
#include "text/gguf_pre_tokenizers.h"
#include "text/tokenizer_json_reader.h"
#include "text/utf8.h"

namespace flashmoe::text {
namespace {

using Json = nlohmann::json;

constexpr std::string_view kPrefix = "tokenizer.";

// Types of tokens in `tokenizer.ggml.token_type`.
enum TokenType { kUndefined, kNormal, kUnknown, kControl, kUserDefined, kUnused, kByte, kTypes };

// Control tokens that end a turn or a text, whatever the keys name.
constexpr std::string_view kEnds[] = {
    "<|im_end|>",      "<|endoftext|>",         "<|eot_id|>", "<|end|>", "<|end_of_text|>",
    "<|end_of_turn|>", "<｜end▁of▁sentence｜>", "<|eom_id|>", "[EOT]",   "</s>"};

// Keys of tokens, and what templates call them.
constexpr std::pair<const char*, const char*> kTemplateTokens[] = {
    {"ggml.bos_token_id", "bos_token"},
    {"ggml.eos_token_id", "eos_token"},
    {"ggml.unknown_token_id", "unk_token"},
    {"ggml.padding_token_id", "pad_token"}};

class Reader {
 public:
  Reader(Json metadata, const std::string& name) : metadata_(std::move(metadata)), name_(name) {}

  template <typename... Args>
  [[noreturn]] void fail(ErrorCode code, const std::string& key, fmt::format_string<Args...> format,
                         Args&&... args) const {
    throw_error(code, "{}: {}{}: {}", name_, kPrefix, key,
                fmt::format(format, std::forward<Args>(args)...));
  }

  // nullptr when the key is absent.
  Json* find(const std::string& key) {
    const auto found = metadata_.find(std::string(kPrefix) + key);
    return found == metadata_.end() ? nullptr : &*found;
  }

  std::string text(const std::string& key) {
    const Json* value = find(key);
    if (value == nullptr) return "";
    if (!value->is_string()) fail(ErrorCode::kCorrupt, key, "it should be a string");
    return value->get<std::string>();
  }

  std::optional<bool> flag(const std::string& key) {
    const Json* value = find(key);
    if (value == nullptr) return std::nullopt;
    if (!value->is_boolean()) fail(ErrorCode::kCorrupt, key, "it should be true or false");
    return value->get<bool>();
  }

  // A token's id; nothing when the key is absent or, as some files have it, beyond the vocabulary.
  std::optional<int32_t> token_id(const std::string& key, size_t tokens) {
    const Json* value = find(key);
    if (value == nullptr) return std::nullopt;
    if (!value->is_number_integer()) fail(ErrorCode::kCorrupt, key, "it should be a token's id");
    if (!value->is_number_unsigned() || value->get<uint64_t>() >= tokens) return std::nullopt;
    return value->get<int32_t>();
  }

  Json::array_t& list(const std::string& key) {
    Json* value = find(key);
    if (value == nullptr) fail(ErrorCode::kCorrupt, key, "it is missing");
    if (!value->is_array()) fail(ErrorCode::kCorrupt, key, "it should be a list");
    return value->get_ref<Json::array_t&>();
  }

 private:
  Json metadata_;
  const std::string& name_;
};

const GgufPreTokenizer& pre_tokenizer_of(Reader& reader) {
  if (reader.find("ggml.model") == nullptr) {
    reader.fail(ErrorCode::kNotFound, "ggml.model",
                "it is missing, as is a tokenizer, so the model cannot be given text; use "
                "`flashmoe logits`, which takes token ids");
  }
  const std::string model = reader.text("ggml.model");
  if (model != "gpt2") {
    reader.fail(ErrorCode::kUnsupported, "ggml.model",
                "the tokenizer '{}' is not supported, only gpt2: byte-level BPE", model);
  }
  std::string name = reader.text("ggml.pre");
  if (name.empty()) name = "default";  // files from before there was the key
  const GgufPreTokenizer* found = find_gguf_pre_tokenizer(name);
  if (found == nullptr) {
    reader.fail(ErrorCode::kUnsupported, "ggml.pre", "the pre-tokenizer '{}' is not known", name);
  }
  if (found->patterns.empty()) {
    reader.fail(ErrorCode::kUnsupported, "ggml.pre",
                "the pre-tokenizer '{}' is not one of byte-level BPE, which alone is supported",
                name);
  }
  return *found;
}

void set_steps(const GgufPreTokenizer& pre, TokenizerSpec* spec) {
  if (pre.nfc) spec->normalizers.emplace_back().kind = NormalizerStep::kNfc;
  for (const std::string_view pattern : pre.patterns) {
    PreTokenizerStep& step = spec->pre_tokenizers.emplace_back();
    step.kind = PreTokenizerStep::kSplit;
    step.pattern = {std::string(pattern), true};
  }
  spec->pre_tokenizers.emplace_back().kind = PreTokenizerStep::kByteLevel;
  spec->ignore_merges = pre.ignore_merges;
}

// The tokens' types, one for each of `count`.
std::vector<TokenType> read_types(Reader& reader, size_t count) {
  const std::string key = "ggml.token_type";
  std::vector<TokenType> types(count, kNormal);
  if (reader.find(key) == nullptr) return types;
  const Json::array_t& list = reader.list(key);
  if (list.size() < count) {
    reader.fail(ErrorCode::kCorrupt, key, "{} types for {} tokens", list.size(), count);
  }
  for (size_t i = 0; i < count; ++i) {
    if (!list[i].is_number_unsigned() || list[i].get<uint64_t>() >= kTypes) {
      reader.fail(ErrorCode::kCorrupt, key, "the type of token {} is {}, not from 0 to {}", i,
                  list[i].is_number() ? list[i].dump() : "no number", kTypes - 1);
    }
    types[i] = static_cast<TokenType>(list[i].get<int>());
  }
  return types;
}

void read_merges(Reader& reader, TokenizerSpec* spec) {
  const std::string key = "ggml.merges";
  for (Json& item : reader.list(key)) {
    const size_t rank = spec->merges.size();
    if (!item.is_string()) reader.fail(ErrorCode::kCorrupt, key, "merge {} is no string", rank);
    const std::string& line = item.get_ref<const std::string&>();
    const size_t space = line.find(' ', 1);
    if (space == std::string::npos || space + 1 == line.size()) {
      reader.fail(ErrorCode::kCorrupt, key, "merge {} is not of the form \"a b\"", rank);
    }
    spec->merges.emplace_back(line.substr(0, space), line.substr(space + 1));
  }
}

}  // namespace

GgufText::GgufText(Json metadata, std::string name)
    : name_(std::move(name)), special_tokens_(nlohmann::ordered_json::object()) {
  Reader reader(std::move(metadata), name_);
  const GgufPreTokenizer& pre = pre_tokenizer_of(reader);
  spec_.name = name_;
  spec_.numbers_added_on = false;
  set_steps(pre, &spec_);

  Json::array_t& tokens = reader.list("ggml.tokens");
  const size_t count = tokens.size();
  if (count > static_cast<size_t>(kMaxTokenId)) {
    reader.fail(ErrorCode::kCorrupt, "ggml.tokens", "{} tokens are more than {}", count,
                kMaxTokenId);
  }
  const std::vector<TokenType> types = read_types(reader, count);
  for (const auto& [key, variable] : kTemplateTokens) {
    const auto id = reader.token_id(key, count);
    if (!id || !tokens[static_cast<size_t>(*id)].is_string()) continue;
    special_tokens_[variable] = tokens[static_cast<size_t>(*id)].get_ref<const std::string&>();
  }
  for (const char* key : {"ggml.eos_token_id", "ggml.eot_token_id", "ggml.eom_token_id"}) {
    if (const auto id = reader.token_id(key, count)) end_tokens_.push_back(*id);
  }
  for (size_t i = 0; i < count; ++i) {
    if (!tokens[i].is_string()) {
      reader.fail(ErrorCode::kCorrupt, "ggml.tokens", "token {} is no string", i);
    }
    std::string& token = tokens[i].get_ref<std::string&>();
    const auto id = static_cast<int32_t>(i);
    if (token.size() > kMaxTokenBytes || utf8_valid_prefix(token) != token.size()) {
      reader.fail(ErrorCode::kCorrupt, "ggml.tokens", "token {} is too long or not UTF-8", i);
    }
    if (token.empty() || types[i] == kUnused) continue;
    const bool special = types[i] == kControl || types[i] == kUnknown;
    if (special && std::find(std::begin(kEnds), std::end(kEnds), token) != std::end(kEnds) &&
        std::find(end_tokens_.begin(), end_tokens_.end(), id) == end_tokens_.end()) {
      end_tokens_.push_back(id);
    }
    if (special || types[i] == kUserDefined) {
      spec_.added_tokens.push_back({std::move(token), id, special});
    } else {
      spec_.vocab.push_back({std::move(token), id});
    }
  }
  read_merges(reader, &spec_);

  if (reader.flag("ggml.add_bos_token").value_or(pre.add_bos)) {
    first_token_ = reader.token_id("ggml.bos_token_id", count);
  }
  template_ = reader.text("chat_template");
  tools_template_ = reader.text("chat_template.tool_use");
}

std::optional<ModelChatTemplate> GgufText::chat_template(bool with_tools) const {
  const bool tools = with_tools && !tools_template_.empty();
  const std::string& source = tools ? tools_template_ : template_;
  if (source.empty()) return std::nullopt;
  return ModelChatTemplate{
      ChatTemplate::parse(source, name_ + (tools ? ": tokenizer.chat_template.tool_use"
                                                 : ": tokenizer.chat_template")),
      special_tokens_};
}

}  // namespace flashmoe::text
