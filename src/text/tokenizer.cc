#include "text/tokenizer.h"

#include <algorithm>
#include <fstream>
#include <mutex>
#include <sstream>
#include <unordered_map>
#include <utility>

#include "base/check.h"
#include "base/error.h"
#include "text/added_tokens.h"
#include "text/bpe.h"
#include "text/bpe_alphabet.h"
#include "text/normalizer.h"
#include "text/pre_tokenizer.h"
#include "text/tokenizer_json.h"
#include "text/utf8.h"

namespace flashmoe::text {
namespace {

constexpr size_t kMaxTextBytes = size_t{1} << 30;

using Range = MarkedText::Range;

// Valid UTF-8 with the ranges moved along. A replaced sequence across the edge of a range is not
// the template's.
MarkedText replace_invalid(const MarkedText& marked) {
  MarkedText result;
  result.from_template = marked.from_template;
  std::vector<size_t*> edges;
  for (Range& range : result.from_template) edges.insert(edges.end(), {&range.begin, &range.end});
  size_t edge = 0;
  const std::string_view text = marked.text;
  for (size_t pos = 0; pos < text.size();) {
    const Utf8Unit unit = utf8_unit(text, pos);
    const size_t new_pos = result.text.size();
    if (unit.kind == Utf8Unit::kValid) {
      result.text.append(text, pos, unit.bytes);
    } else {
      utf8_append(kReplacementCharacter, &result.text);
    }
    for (; edge < edges.size() && *edges[edge] < pos + unit.bytes; ++edge) {
      const bool inside = *edges[edge] > pos, begins = edge % 2 == 0;
      *edges[edge] = inside && begins ? result.text.size() : new_pos;
    }
    pos += unit.bytes;
  }
  for (; edge < edges.size(); ++edge) *edges[edge] = result.text.size();
  return result;
}

std::vector<AddedToken> select(std::vector<AddedToken> tokens, bool normalized) {
  std::erase_if(tokens, [&](const AddedToken& token) { return token.normalized != normalized; });
  return tokens;
}

}  // namespace

struct Tokenizer::Impl {
  explicit Impl(const TokenizerSpec& spec);

  // Everything that one encode writes to.
  struct Scratch {
    explicit Scratch(const PreTokenizer& pre_tokenizer) : pieces(pre_tokenizer) {}
    PreTokenizer::Scratch pieces;
    Bpe::Scratch bpe;
  };
  // Lends a scratch, so that caches stay warm from call to call.
  class ScratchLoan {
   public:
    explicit ScratchLoan(Impl* owner) : owner_(owner) {
      const std::lock_guard lock(owner->mutex);
      if (owner->idle.empty()) {
        scratch_ = std::make_unique<Scratch>(owner->pre_tokenizer);
      } else {
        scratch_ = std::move(owner->idle.back());
        owner->idle.pop_back();
      }
    }
    ~ScratchLoan() {
      const std::lock_guard lock(owner_->mutex);
      owner_->idle.push_back(std::move(scratch_));
    }
    ScratchLoan(const ScratchLoan&) = delete;
    ScratchLoan& operator=(const ScratchLoan&) = delete;
    Scratch* operator->() const { return scratch_.get(); }

   private:
    Impl* owner_;
    std::unique_ptr<Scratch> scratch_;
  };

  std::vector<AddedToken> add_tokens(const TokenizerSpec& spec);
  void fill_bytes(const TokenizerSpec& spec, const std::vector<AddedToken>& added);
  std::vector<int32_t> encode(std::string_view valid_utf8, const std::vector<Range>& trusted);

  std::string name;
  Normalizer normalizer;
  PreTokenizer pre_tokenizer;
  Bpe bpe;
  std::unordered_map<std::string, int32_t> added_ids;
  std::unique_ptr<AddedTokenFinder> plain, normalized;
  std::string bytes;           // of all tokens, by id
  std::vector<size_t> begins;  // in bytes; one more than there are ids
  std::vector<bool> special;   // by id
  std::mutex mutex;            // of idle
  std::vector<std::unique_ptr<Scratch>> idle;
};

Tokenizer::Impl::Impl(const TokenizerSpec& spec)
    : name(spec.name),
      normalizer(spec.normalizers, spec.name),
      pre_tokenizer(spec.pre_tokenizers, spec.name),
      bpe(spec) {
  const std::vector<AddedToken> added = add_tokens(spec);
  plain = std::make_unique<AddedTokenFinder>(select(added, false), name);
  normalized = std::make_unique<AddedTokenFinder>(select(added, true), name);
  fill_bytes(spec, added);
}

// The added tokens in the same order, checked, and in normalised form where that is what matches.
std::vector<AddedToken> Tokenizer::Impl::add_tokens(const TokenizerSpec& spec) {
  std::vector<AddedToken> added;
  std::unordered_map<int32_t, const AddedToken*> by_id;
  auto next_id = static_cast<int32_t>(spec.vocab.size());
  for (const AddedToken& token : spec.added_tokens) {
    const auto fail = [&](const std::string& why) {
      throw_error(ErrorCode::kCorrupt, "{}: the added token '{}' with id {}: {}", name,
                  token.content, token.id, why);
    };
    if (utf8_valid_prefix(token.content) != token.content.size()) fail("not UTF-8");
    int32_t right_id = bpe.find(token.content);
    if (right_id < 0) right_id = spec.numbers_added_on ? next_id++ : token.id;
    if (token.id != right_id) fail(fmt::format("its id should be {}", right_id));
    if (!added_ids.emplace(token.content, token.id).second) fail("it is listed twice");
    if (!by_id.emplace(token.id, &token).second) {
      fail(fmt::format("'{}' has that id", by_id[token.id]->content));
    }
    added.push_back(token);
    if (token.normalized) added.back().content = normalizer.apply(token.content);
    if (added.back().content.empty()) fail("nothing is left of it after normalisation");
  }
  return added;
}

void Tokenizer::Impl::fill_bytes(const TokenizerSpec& spec, const std::vector<AddedToken>& added) {
  std::vector<std::string_view> spellings;
  const auto place = [&](int32_t id) -> std::string_view& {
    const auto index = static_cast<size_t>(id);
    if (index >= spellings.size()) spellings.resize(index + 1);
    return spellings[index];
  };
  for (const TokenizerSpec::Token& token : spec.vocab) place(token.id) = token.text;
  for (size_t i = 0; i < added.size(); ++i) {
    std::string_view& spelling = place(added[i].id);
    const std::string& content = spec.added_tokens[i].content;
    if (!spelling.empty() && spelling != content) {
      throw_error(ErrorCode::kCorrupt, "{}: the id {} has two tokens, '{}' and '{}'", name,
                  added[i].id, spelling, content);
    }
    spelling = added[i].content;
  }
  special.resize(spellings.size());
  for (const AddedToken& token : added) special[static_cast<size_t>(token.id)] = token.special;
  begins.reserve(spellings.size() + 1);
  for (const std::string_view spelling : spellings) {
    begins.push_back(bytes.size());
    // What is not spelled in the byte alphabet, as most added tokens are not, stands for itself.
    if (!from_byte_level(spelling, &bytes)) bytes += spelling;
  }
  begins.push_back(bytes.size());
}

std::vector<int32_t> Tokenizer::Impl::encode(std::string_view text,
                                             const std::vector<Range>& trusted) {
  struct Sink : PieceSink {
    Sink(const Bpe& bpe, Bpe::Scratch* scratch) : bpe(bpe), scratch(scratch) {}
    void piece(std::string_view bytes) override { bpe.encode(bytes, scratch, &ids); }
    const Bpe& bpe;
    Bpe::Scratch* scratch;
    std::vector<int32_t> ids;
  };
  if (text.size() > kMaxTextBytes) {
    throw_error(ErrorCode::kUsage, "a text of {} bytes is longer than the {} that can be encoded",
                text.size(), kMaxTextBytes);
  }
  const ScratchLoan scratch(this);
  Sink sink(bpe, &scratch->bpe);
  const auto is_trusted = [&](size_t pos) {
    const auto after = std::upper_bound(trusted.begin(), trusted.end(), pos,
                                        [](size_t p, const Range& r) { return p < r.begin; });
    return after != trusted.begin() && pos < std::prev(after)->end;
  };
  std::vector<AddedTokenFinder::Span> outer, inner;
  plain->find(text, is_trusted, &outer);
  FlaggedText segment;
  for (const auto& span : outer) {
    if (span.id >= 0) {
      sink.ids.push_back(span.id);
      continue;
    }
    const std::string_view raw = text.substr(span.begin, span.end - span.begin);
    if (normalizer.empty() && normalized->empty()) {
      pre_tokenizer.run(raw, &scratch->pieces, &sink);
      continue;
    }
    segment.text = raw;
    segment.trusted.clear();
    if (normalized->has_special()) {
      segment.trusted.resize(raw.size());
      for (size_t i = 0; i < raw.size(); ++i) segment.trusted[i] = is_trusted(span.begin + i);
    }
    normalizer.apply(&segment);
    normalized->find(
        segment.text, [&](size_t pos) { return segment.trusted[pos]; }, &inner);
    for (const auto& part : inner) {
      if (part.id >= 0) {
        sink.ids.push_back(part.id);
      } else {
        pre_tokenizer.run(std::string_view(segment.text).substr(part.begin, part.end - part.begin),
                          &scratch->pieces, &sink);
      }
    }
  }
  return std::move(sink.ids);
}

Tokenizer::Tokenizer(const TokenizerSpec& spec) : impl_(std::make_unique<Impl>(spec)) {}
Tokenizer::Tokenizer(Tokenizer&&) noexcept = default;
Tokenizer& Tokenizer::operator=(Tokenizer&&) noexcept = default;
Tokenizer::~Tokenizer() = default;

Tokenizer Tokenizer::from_json(std::string_view json, std::string_view name) {
  return Tokenizer(parse_tokenizer_json(json, name));
}

Tokenizer Tokenizer::from_file(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) throw_error(ErrorCode::kNotFound, "{}: cannot be opened", path);
  std::ostringstream contents;
  contents << file.rdbuf();
  if (file.bad()) throw_error(ErrorCode::kIo, "{}: cannot be read", path);
  return from_json(contents.view(), path);
}

std::vector<int32_t> Tokenizer::encode(const MarkedText& marked) const {
  size_t end = 0;
  for (const Range& range : marked.from_template) {
    CHECK(end <= range.begin && range.begin <= range.end && range.end <= marked.text.size());
    end = range.end;
  }
  if (utf8_valid_prefix(marked.text) != marked.text.size()) {
    const MarkedText valid = replace_invalid(marked);
    return impl_->encode(valid.text, valid.from_template);
  }
  return impl_->encode(marked.text, marked.from_template);
}

std::vector<int32_t> Tokenizer::encode(std::string_view text, bool parse_special) const {
  std::string replaced;
  if (utf8_valid_prefix(text) != text.size()) {
    utf8_append_lossy(text, false, &replaced);
    text = replaced;
  }
  return impl_->encode(text,
                       parse_special ? std::vector<Range>{{0, text.size()}} : std::vector<Range>{});
}

std::string Tokenizer::decode(const std::vector<int32_t>& ids, bool skip_special) const {
  std::string bytes, text;
  for (const int32_t id : ids) {
    if (!skip_special || !is_special(id)) bytes += token_bytes(id);
  }
  utf8_append_lossy(bytes, false, &text);
  return text;
}

std::string_view Tokenizer::token_bytes(int32_t id) const {
  if (id < 0 || id >= vocab_size()) return {};
  const auto index = static_cast<size_t>(id);
  const size_t begin = impl_->begins[index];
  return std::string_view(impl_->bytes).substr(begin, impl_->begins[index + 1] - begin);
}

bool Tokenizer::is_special(int32_t id) const {
  return id >= 0 && id < vocab_size() && impl_->special[static_cast<size_t>(id)];
}

std::optional<int32_t> Tokenizer::id_of(std::string_view token) const {
  if (const auto added = impl_->added_ids.find(std::string(token)); added != impl_->added_ids.end())
    return added->second;
  const int32_t id = impl_->bpe.find(token);
  return id < 0 ? std::nullopt : std::optional(id);
}

int32_t Tokenizer::vocab_size() const { return static_cast<int32_t>(impl_->special.size()); }

}  // namespace flashmoe::text
