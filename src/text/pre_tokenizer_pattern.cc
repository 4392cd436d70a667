#define PCRE2_CODE_UNIT_WIDTH 8
#include "text/pre_tokenizer_pattern.h"

#include <pcre2.h>

#include "base/error.h"
#include "text/utf8.h"

namespace flashmoe::text {
namespace {

constexpr size_t kMaxPatternBytes = 16384;
// Of the JIT's machine stack; common patterns need none of it, groups repeated over a long run do.
constexpr size_t kJitStackStart = 32 << 10, kJitStackMax = 64 << 20;

// The JIT's stack of this thread.
pcre2_match_context* match_context() {
  struct Context {
    pcre2_match_context* match = pcre2_match_context_create(nullptr);
    pcre2_jit_stack* stack = pcre2_jit_stack_create(kJitStackStart, kJitStackMax, nullptr);
    Context() {
      if (match == nullptr) throw_error(ErrorCode::kMemory, "no memory left to match a pattern");
      if (stack != nullptr) pcre2_jit_stack_assign(match, nullptr, stack);
    }
    ~Context() {
      pcre2_jit_stack_free(stack);
      pcre2_match_context_free(match);
    }
  };
  thread_local Context context;
  return context.match;
}

std::string escape_literal(std::string_view text) {
  std::string escaped;
  for (const char c : text) {
    if (std::string_view("\\^$.[]|()?*+{}#-").find(c) != std::string_view::npos) escaped += '\\';
    escaped += c;
  }
  return escaped;
}

}  // namespace

Pattern::Pattern(const PatternSpec& spec, const std::string& name) : source_(spec.text) {
  if (spec.text.size() > kMaxPatternBytes) {
    throw_error(ErrorCode::kUnsupported, "{}: a pattern of {} bytes is longer than {}", name,
                spec.text.size(), kMaxPatternBytes);
  }
  const std::string source =
      spec.is_regex ? translate_regex(spec.text, name) : escape_literal(spec.text);
  int error = 0;
  PCRE2_SIZE offset = 0;
  pcre2_code* code = pcre2_compile(
      reinterpret_cast<PCRE2_SPTR>(source.data()), source.size(),
      PCRE2_UTF | PCRE2_UCP | PCRE2_MULTILINE | PCRE2_NEVER_BACKSLASH_C | PCRE2_NO_AUTO_CAPTURE,
      &error, &offset, nullptr);
  if (code == nullptr) {
    PCRE2_UCHAR message[128];
    pcre2_get_error_message(error, message, sizeof message);
    throw_error(ErrorCode::kUnsupported, "{}: cannot use the pattern '{}': {} (in '{}' at {})",
                name, spec.text, reinterpret_cast<const char*>(message), source, offset);
  }
  code_.reset(code, pcre2_code_free);
  jit_ = pcre2_jit_compile(code, PCRE2_JIT_COMPLETE) == 0;
}

void PatternMatcher::FreeMatchData::operator()(pcre2_match_data* data) const {
  pcre2_match_data_free(data);
}

bool PatternMatcher::search(Match* match) {
  const pcre2_code* code = pattern_.code_.get();
  if (data_ == nullptr) {
    data_.reset(pcre2_match_data_create(1, nullptr));
    if (data_ == nullptr) throw_error(ErrorCode::kMemory, "no memory left to match a pattern");
    offsets_ = pcre2_get_ovector_pointer(data_.get());
  }
  const auto subject = reinterpret_cast<PCRE2_SPTR>(text_.data());
  const int count = pattern_.jit_ ? pcre2_jit_match(code, subject, text_.size(), pos_, 0,
                                                    data_.get(), match_context())
                                  : pcre2_match(code, subject, text_.size(), pos_,
                                                PCRE2_NO_UTF_CHECK, data_.get(), match_context());
  if (count == PCRE2_ERROR_NOMATCH) return false;
  if (count < 0) {
    PCRE2_UCHAR message[128];
    pcre2_get_error_message(count, message, sizeof message);
    throw_error(ErrorCode::kUnsupported, "the pattern '{}' is too slow for this text: {}",
                pattern_.source_, reinterpret_cast<const char*>(message));
  }
  *match = {offsets_[0], offsets_[1]};
  return true;
}

bool PatternMatcher::next(Match* match) {
  if (pattern_.code_ == nullptr) return false;
  while (pos_ <= text_.size() && search(match)) {
    if (match->begin == match->end && match->end == last_end_) {
      pos_ += pos_ < text_.size() ? utf8_length(static_cast<unsigned char>(text_[pos_])) : 1;
      continue;
    }
    pos_ = last_end_ = match->end;
    return true;
  }
  return false;
}

}  // namespace flashmoe::text
