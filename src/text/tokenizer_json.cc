#include "text/tokenizer_json.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "text/tokenizer_json_reader.h"
#include "text/utf8_properties.h"

namespace flashmoe::text {
namespace {

using Json = nlohmann::json;

constexpr size_t kMaxJsonBytes = size_t{1} << 28;
constexpr size_t kMaxAddedTokens = 1 << 17;
constexpr int kMaxSequenceDepth = 8;
constexpr size_t kMaxSteps = 64;

// A value of the file and where it is, for messages.
class Value {
 public:
  Value(const Json& json, std::string path, const std::string& name)
      : json_(json), path_(std::move(path)), name_(name) {}

  template <typename... Args>
  [[noreturn]] void fail(ErrorCode code, fmt::format_string<Args...> format, Args&&... args) const {
    throw_error(code, "{}: {}: {}", name_, path_.empty() ? "top level" : path_,
                fmt::format(format, std::forward<Args>(args)...));
  }

  const Json& json() const { return json_; }
  bool is_null() const { return json_.is_null(); }
  bool has(const char* key) const {
    return json_.is_object() && json_.contains(key) && !json_[key].is_null();
  }

  Value at(const char* key) const {
    if (!json_.is_object()) fail(ErrorCode::kCorrupt, "expected an object");
    const auto member = json_.find(key);
    if (member == json_.end()) fail(ErrorCode::kCorrupt, "'{}' is missing", key);
    return {*member, path_.empty() ? key : path_ + '.' + key, name_};
  }
  Value at(size_t index) const {
    return {json_[index], fmt::format("{}[{}]", path_, index), name_};
  }

  const std::string& string() const {
    if (!json_.is_string()) fail(ErrorCode::kCorrupt, "expected a string");
    return json_.get_ref<const std::string&>();
  }
  bool boolean() const {
    if (!json_.is_boolean()) fail(ErrorCode::kCorrupt, "expected true or false");
    return json_.get<bool>();
  }
  bool boolean_or(const char* key, bool otherwise) const {
    return has(key) ? at(key).boolean() : otherwise;
  }
  int32_t token_id() const {
    if (!json_.is_number_integer()) fail(ErrorCode::kCorrupt, "expected a token's id");
    if (!json_.is_number_unsigned() || json_.get<uint64_t>() >= kMaxTokenId) {
      fail(ErrorCode::kCorrupt, "the id {} is not in 0..{}", json_.dump(), kMaxTokenId - 1);
    }
    return json_.get<int32_t>();
  }
  size_t array_size() const {
    if (!json_.is_array()) fail(ErrorCode::kCorrupt, "expected an array");
    return json_.size();
  }
  std::string type() const { return at("type").string(); }

 private:
  const Json& json_;
  std::string path_;
  const std::string& name_;
};

PatternSpec read_pattern(const Value& value) {
  if (value.has("Regex")) return {value.at("Regex").string(), true};
  if (value.has("String")) return {value.at("String").string(), false};
  value.fail(ErrorCode::kCorrupt, "expected a 'Regex' or a 'String'");
}

// Calls visit(step) for a step or for each of the steps in (nested) sequences.
template <typename Visit>
void for_each_step(const Value& value, const char* list, int depth, const Visit& visit) {
  if (value.type() != "Sequence") return visit(value);
  if (depth == kMaxSequenceDepth) value.fail(ErrorCode::kCorrupt, "too deeply nested sequences");
  const Value steps = value.at(list);
  for (size_t i = 0; i < steps.array_size(); ++i) {
    for_each_step(steps.at(i), list, depth + 1, visit);
  }
}

NormalizerStep read_normalizer(const Value& value) {
  const std::string type = value.type();
  NormalizerStep step;
  if (type == "NFC") {
    step.kind = NormalizerStep::kNfc;
  } else if (type == "NFD") {
    step.kind = NormalizerStep::kNfd;
  } else if (type == "NFKC") {
    step.kind = NormalizerStep::kNfkc;
  } else if (type == "NFKD") {
    step.kind = NormalizerStep::kNfkd;
  } else if (type == "Lowercase") {
    step.kind = NormalizerStep::kLowercase;
  } else if (type == "Strip") {
    step.kind = NormalizerStep::kStrip;
    step.strip_left = value.at("strip_left").boolean();
    step.strip_right = value.at("strip_right").boolean();
  } else if (type == "Prepend") {
    step.kind = NormalizerStep::kPrepend;
    step.content = value.at("prepend").string();
  } else if (type == "Replace") {
    step.kind = NormalizerStep::kReplace;
    step.pattern = read_pattern(value.at("pattern"));
    step.content = value.at("content").string();
  } else {
    value.fail(ErrorCode::kUnsupported, "the normalizer '{}' is not supported", type);
  }
  return step;
}

SplitBehavior read_behavior(const Value& value) {
  const std::string& behavior = value.string();
  if (behavior == "Removed") return SplitBehavior::kRemoved;
  if (behavior == "Isolated") return SplitBehavior::kIsolated;
  if (behavior == "MergedWithPrevious") return SplitBehavior::kMergedWithPrevious;
  if (behavior == "MergedWithNext") return SplitBehavior::kMergedWithNext;
  if (behavior == "Contiguous") return SplitBehavior::kContiguous;
  value.fail(ErrorCode::kCorrupt, "unknown behavior '{}'", behavior);
}

PreTokenizerStep split_step(PatternSpec pattern, SplitBehavior behavior, bool invert = false) {
  PreTokenizerStep step;
  step.kind = PreTokenizerStep::kSplit;
  step.pattern = std::move(pattern);
  step.behavior = behavior;
  step.invert = invert;
  return step;
}

// Those beside ByteLevel and Split are Splits by a fixed pattern.
std::vector<PreTokenizerStep> read_pre_tokenizer(const Value& value) {
  const std::string type = value.type();
  if (type == "ByteLevel") {
    PreTokenizerStep step;
    step.kind = PreTokenizerStep::kByteLevel;
    step.add_prefix_space = value.at("add_prefix_space").boolean();
    step.use_regex = value.boolean_or("use_regex", true);
    return {step};
  }
  if (type == "Split") {
    return {split_step(read_pattern(value.at("pattern")), read_behavior(value.at("behavior")),
                       value.at("invert").boolean())};
  }
  const SplitBehavior kIsolated = SplitBehavior::kIsolated, kRemoved = SplitBehavior::kRemoved;
  if (type == "Digits") {  // of Unicode 17; the patterns' \p{N} is of Unicode 16
    const bool individual = value.at("individual_digits").boolean();
    return {split_step({R"([\p{N}\x{11de0}-\x{11de9}\x{16ff4}-\x{16ff6}])", true},
                       individual ? kIsolated : SplitBehavior::kContiguous)};
  }
  if (type == "Whitespace") {
    return {split_step({fmt::format(R"([{0}]+|[^\s{0}]+)", kRustWord), true}, kRemoved, true)};
  }
  if (type == "WhitespaceSplit") return {split_step({R"(\s)", true}, kRemoved)};
  if (type == "Punctuation") {
    return {split_step({kPunctuationClass, true},
                       value.has("behavior") ? read_behavior(value.at("behavior")) : kIsolated)};
  }
  if (type == "BertPreTokenizer") {
    return {split_step({R"(\s)", true}, kRemoved),
            split_step({kPunctuationClass, true}, kIsolated)};
  }
  if (type == "CharDelimiterSplit") {
    return {split_step({value.at("delimiter").string(), false}, kRemoved)};
  }
  value.fail(ErrorCode::kUnsupported, "the pre-tokenizer '{}' is not supported", type);
}

void check_decoder(const Value& decoder) {
  if (decoder.is_null()) return;
  for_each_step(decoder, "decoders", 0, [](const Value& step) {
    if (step.type() != "ByteLevel") {
      step.fail(ErrorCode::kUnsupported, "the decoder '{}' is not supported, only ByteLevel",
                step.type());
    }
  });
}

void read_model(const Value& model, TokenizerSpec* spec) {
  if (!model.json().is_object()) model.fail(ErrorCode::kCorrupt, "expected an object");
  if (model.has("type") && model.type() != "BPE") {
    model.fail(ErrorCode::kUnsupported, "the model '{}' is not supported, only BPE", model.type());
  }
  for (const char* key : {"continuing_subword_prefix", "end_of_word_suffix"}) {
    if (model.has(key) && !model.at(key).string().empty()) {
      model.at(key).fail(ErrorCode::kUnsupported, "only byte-level BPE is supported");
    }
  }
  if (model.boolean_or("byte_fallback", false)) {
    model.at("byte_fallback").fail(ErrorCode::kUnsupported, "only byte-level BPE is supported");
  }
  if (model.has("dropout")) {
    const Value dropout = model.at("dropout");
    if (!dropout.json().is_number()) dropout.fail(ErrorCode::kCorrupt, "expected a number");
    if (dropout.json() != 0.0) dropout.fail(ErrorCode::kUnsupported, "must be null or 0");
  }
  if (model.has("unk_token")) spec->unk_token = model.at("unk_token").string();
  spec->fuse_unk = model.boolean_or("fuse_unk", false);
  spec->ignore_merges = model.boolean_or("ignore_merges", false);
}

void read_added_tokens(const Value& tokens, TokenizerSpec* spec) {
  if (tokens.array_size() > kMaxAddedTokens) tokens.fail(ErrorCode::kCorrupt, "too many tokens");
  for (size_t i = 0; i < tokens.array_size(); ++i) {
    const Value entry = tokens.at(i);
    AddedToken token;
    token.content = entry.at("content").string();
    token.id = entry.at("id").token_id();
    token.special = entry.at("special").boolean();
    token.normalized = entry.at("normalized").boolean();
    token.lstrip = entry.at("lstrip").boolean();
    token.rstrip = entry.at("rstrip").boolean();
    token.single_word = entry.at("single_word").boolean();
    if (token.content.size() > kMaxTokenBytes) {
      entry.fail(ErrorCode::kCorrupt, "the token is too long");
    }
    if (!token.content.empty()) spec->added_tokens.push_back(std::move(token));
  }
}

}  // namespace

TokenizerSpec parse_tokenizer_json(std::string_view json, std::string_view name) {
  TokenizerSpec spec;
  spec.name = name;
  if (json.size() > kMaxJsonBytes) {
    throw_error(ErrorCode::kUnsupported, "{}: {} bytes are more than a tokenizer may have ({})",
                name, json.size(), kMaxJsonBytes);
  }
  TokenizerJson file = read_tokenizer_json(json, spec.name);
  const Value root(file.tree, "", spec.name);
  if (root.has("version") && root.at("version").string() != "1.0") {
    root.at("version").fail(ErrorCode::kUnsupported, "only version 1.0 is known");
  }
  const Value model = root.at("model");
  read_model(model, &spec);
  if (!file.has_vocab) model.fail(ErrorCode::kCorrupt, "'vocab' is missing");
  if (!file.has_merges) model.fail(ErrorCode::kCorrupt, "'merges' is missing");
  spec.vocab = std::move(file.vocab);
  spec.merges = std::move(file.merges);
  if (root.has("added_tokens")) read_added_tokens(root.at("added_tokens"), &spec);
  if (root.has("normalizer")) {
    for_each_step(root.at("normalizer"), "normalizers", 0, [&](const Value& step) {
      spec.normalizers.push_back(read_normalizer(step));
      if (spec.normalizers.size() > kMaxSteps) step.fail(ErrorCode::kCorrupt, "too many steps");
    });
  }
  if (root.has("pre_tokenizer")) {
    for_each_step(root.at("pre_tokenizer"), "pretokenizers", 0, [&](const Value& step) {
      for (PreTokenizerStep& one : read_pre_tokenizer(step)) {
        spec.pre_tokenizers.push_back(std::move(one));
      }
      if (spec.pre_tokenizers.size() > kMaxSteps) step.fail(ErrorCode::kCorrupt, "too many steps");
    });
  }
  const auto is_byte_level = [](const PreTokenizerStep& step) {
    return step.kind == PreTokenizerStep::kByteLevel;
  };
  if (std::count_if(spec.pre_tokenizers.begin(), spec.pre_tokenizers.end(), is_byte_level) != 1) {
    throw_error(ErrorCode::kUnsupported,
                "{}: pre_tokenizer: only byte-level BPE is supported, with one ByteLevel step",
                name);
  }
  if (root.has("decoder")) check_decoder(root.at("decoder"));
  return spec;
}

}  // namespace flashmoe::text
