#include "text/tokenizer_json_reader.h"

#include <fmt/format.h>

#include "base/error.h"
#include "text/json_message.h"

namespace flashmoe::text {
namespace {

using Json = nlohmann::json;

constexpr size_t kMaxDepth = 64;

class Reader final : public Json::json_sax_t {
 public:
  explicit Reader(const std::string& name) : name_(name) {}

  TokenizerJson take() { return std::move(result_); }

  bool null() override { return scalar(nullptr); }
  bool boolean(bool value) override { return scalar(value); }
  bool number_integer(number_integer_t value) override {  // below 0
    if (part_ == Part::kVocab) fail_id(value);
    return scalar(value);
  }
  bool number_float(number_float_t value, const string_t&) override { return scalar(value); }
  bool binary(binary_t&) override { return false; }  // not in JSON

  bool number_unsigned(number_unsigned_t value) override {
    if (part_ != Part::kVocab) return scalar(value);
    if (value >= static_cast<uint64_t>(kMaxTokenId)) fail_id(value);
    if (value >= used_.size()) used_.resize(value + 1);
    if (used_[value]) fail_in_vocab(fmt::format("the id {} has two tokens", value));
    used_[value] = true;
    result_.vocab.push_back({std::move(token_), static_cast<int32_t>(value)});
    return true;
  }

  bool string(string_t& value) override {
    if (part_ == Part::kMerges) {
      add_merge_line(value);
    } else if (part_ == Part::kMerge) {
      if (pair_.size() == 2) fail_in_merges();
      pair_.push_back(std::move(value));
    } else {
      return scalar(std::move(value));
    }
    return true;
  }

  bool key(string_t& value) override {
    if (part_ == Part::kVocab) {
      token_ = std::move(value);
      if (token_.size() > kMaxTokenBytes) fail_in_vocab("the token is too long");
    } else {
      levels_.back().key = std::move(value);
    }
    return true;
  }

  bool start_object(size_t) override {
    if (part_ == Part::kTree && at_model("vocab")) {
      part_ = Part::kVocab;
      result_.has_vocab = true;
      return true;
    }
    return open(Json::object());
  }

  bool start_array(size_t) override {
    if (part_ == Part::kMerges) {
      part_ = Part::kMerge;
      pair_.clear();
      return true;
    }
    if (part_ == Part::kTree && at_model("merges")) {
      part_ = Part::kMerges;
      result_.has_merges = true;
      return true;
    }
    return open(Json::array());
  }

  bool end_object() override {
    if (part_ == Part::kVocab) {
      part_ = Part::kTree;
    } else {
      levels_.pop_back();
    }
    return true;
  }

  bool end_array() override {
    if (part_ == Part::kMerge) {
      if (pair_.size() != 2) fail_in_merges();
      result_.merges.emplace_back(std::move(pair_[0]), std::move(pair_[1]));
      part_ = Part::kMerges;
    } else if (part_ == Part::kMerges) {
      part_ = Part::kTree;
    } else {
      levels_.pop_back();
    }
    return true;
  }

  bool parse_error(size_t, const std::string&, const Json::exception& e) override {
    throw_error(ErrorCode::kCorrupt, "{}: not valid JSON: {}", name_, json_message(e));
  }

 private:
  enum class Part { kTree, kVocab, kMerges, kMerge };
  struct Level {
    Json* json;
    std::string key;  // of the member being read, in an object
  };

  [[noreturn]] void fail_in_vocab(const std::string& why) const {
    throw_error(ErrorCode::kCorrupt, "{}: model.vocab['{}']: {}", name_, token_, why);
  }
  template <typename Integer>
  [[noreturn]] void fail_id(Integer id) const {
    fail_in_vocab(fmt::format("the id {} is not in 0..{}", id, kMaxTokenId - 1));
  }
  [[noreturn]] void fail_in_merges() const {
    throw_error(ErrorCode::kCorrupt,
                "{}: model.merges[{}]: expected two tokens, as \"a b\" or [\"a\", \"b\"]", name_,
                result_.merges.size());
  }

  bool at_model(const char* key) const {
    return levels_.size() == 2 && levels_[0].key == "model" && levels_[1].key == key;
  }

  void add_merge_line(const std::string& line) {
    if (line.starts_with("#version")) return;
    const size_t space = line.find(' ');
    if (space == std::string::npos || line.find(' ', space + 1) != std::string::npos) {
      fail_in_merges();
    }
    result_.merges.emplace_back(line.substr(0, space), line.substr(space + 1));
  }

  Json* add(Json value) {
    if (part_ == Part::kVocab) fail_in_vocab("expected a token's id");
    if (part_ != Part::kTree) fail_in_merges();
    if (at_model("vocab")) {
      throw_error(ErrorCode::kCorrupt, "{}: model.vocab: expected an object", name_);
    }
    if (at_model("merges")) {
      throw_error(ErrorCode::kCorrupt, "{}: model.merges: expected an array", name_);
    }
    if (levels_.empty()) return &(result_.tree = std::move(value));
    Json& parent = *levels_.back().json;
    if (parent.is_array()) return &parent.emplace_back(std::move(value));
    return &(parent[levels_.back().key] = std::move(value));
  }

  bool scalar(Json value) {
    add(std::move(value));
    return true;
  }

  bool open(Json container) {
    if (levels_.size() == kMaxDepth) {
      throw_error(ErrorCode::kCorrupt, "{}: nested more than {} deep", name_, kMaxDepth);
    }
    levels_.push_back({add(std::move(container)), {}});
    return true;
  }

  const std::string& name_;
  TokenizerJson result_;
  Part part_ = Part::kTree;
  std::vector<Level> levels_;
  std::string token_;              // of the vocabulary, whose id comes next
  std::vector<std::string> pair_;  // of the merge being read
  std::vector<bool> used_;         // ids
};

}  // namespace

TokenizerJson read_tokenizer_json(std::string_view json, const std::string& name) {
  Reader reader(name);
  Json::sax_parse(json, &reader);
  return reader.take();
}

}  // namespace flashmoe::text
