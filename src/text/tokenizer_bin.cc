#include "text/tokenizer_bin.h"

#include <cstddef>
#include <string>

#include "base/error.h"

namespace flashmoe::text {

namespace {

constexpr uint32_t kVersion = 1;
constexpr uint32_t kMaxId = 1 << 24;

// As tokenizer.json of Qwen3.5 has it.
constexpr const char* kPattern =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*)"
    R"(|\s*[\r\n]+|\s+(?!\S)|\s+)";

class Reader {
 public:
  Reader(std::string_view bytes, std::string_view name) : bytes_(bytes), name_(name) {}

  std::string_view take(size_t count) {
    if (count > bytes_.size() - at_) fail("ends in the middle of an entry");
    const std::string_view result = bytes_.substr(at_, count);
    at_ += count;
    return result;
  }
  // Little-endian.
  uint32_t number(size_t bytes) {
    const std::string_view from = take(bytes);
    uint32_t value = 0;
    for (size_t i = bytes; i-- > 0;) value = value << 8 | static_cast<unsigned char>(from[i]);
    return value;
  }
  // How many entries of at least `least_bytes` follow.
  uint32_t count(size_t least_bytes) {
    const uint32_t value = number(4);
    if (value > bytes_.size() / least_bytes) fail("says that it has more entries than bytes");
    return value;
  }
  std::string text() { return std::string(take(number(2))); }
  int32_t id() {
    const uint32_t value = number(4);
    if (value >= kMaxId) fail(fmt::format("has a token of id {}", value));
    return static_cast<int32_t>(value);
  }
  bool at_end() const { return at_ == bytes_.size(); }

  [[noreturn]] void fail(const std::string& what) const {
    throw_error(ErrorCode::kCorrupt, "{}: is no tokenizer.bin or damaged: it {} (at byte {})",
                name_, what, at_);
  }

 private:
  const std::string_view bytes_;
  const std::string_view name_;
  size_t at_ = 0;
};

}  // namespace

// "BPET", a version, three counts; tokens {id, text}, merges {text, text} by rank, added tokens
// {id, text}. Numbers are u32, lengths of texts u16; texts are in byte-level spelling but for the
// added.
TokenizerSpec parse_tokenizer_bin(std::string_view bytes, std::string_view name) {
  Reader reader(bytes, name);
  if (reader.take(4) != "BPET") reader.fail("does not begin with BPET");
  if (const uint32_t version = reader.number(4); version != kVersion) {
    reader.fail(fmt::format("is of version {}, not {}", version, kVersion));
  }
  TokenizerSpec spec;
  spec.name = name;
  const uint32_t tokens = reader.count(6), merges = reader.count(4), added = reader.count(6);
  for (uint32_t i = 0; i < tokens; ++i) {
    const int32_t id = reader.id();
    spec.vocab.push_back({reader.text(), id});
  }
  for (uint32_t i = 0; i < merges; ++i) {
    std::string first = reader.text();
    spec.merges.emplace_back(std::move(first), reader.text());
  }
  for (uint32_t i = 0; i < added; ++i) {
    AddedToken token;
    token.id = reader.id();
    token.content = reader.text();
    // The file does not tell special tokens from others; those of this family are all but the marks
    // of reasoning and tools, which are shown.
    token.special = token.content.starts_with("<|");
    spec.added_tokens.push_back(std::move(token));
  }
  if (!reader.at_end()) reader.fail("goes on after its last entry");
  spec.normalizers.push_back({});  // NFC
  PreTokenizerStep split;
  split.pattern = {kPattern, /*is_regex=*/true};
  PreTokenizerStep byte_level;
  byte_level.kind = PreTokenizerStep::kByteLevel;
  spec.pre_tokenizers = {split, byte_level};
  return spec;
}

}  // namespace flashmoe::text
