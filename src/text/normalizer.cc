#include "text/normalizer.h"

#include <utf8proc.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <utility>

#include "base/check.h"
#include "text/utf8.h"
#include "text/utf8_properties.h"

namespace flashmoe::text {
namespace {

// Builds the new text and its flags side by side.
class Output {
 public:
  Output(const FlaggedText& in) : in_(in) { out_.text.reserve(in.text.size()); }

  std::string* text() { return &out_.text; }
  // Gives everything appended since the last call the flag of in[begin, end).
  void flag(size_t begin, size_t end) {
    if (in_.trusted.empty()) return;
    const auto first = in_.trusted.begin() + static_cast<ptrdiff_t>(begin);
    const auto last = in_.trusted.begin() + static_cast<ptrdiff_t>(end);
    out_.trusted.resize(out_.text.size(), std::find(first, last, false) == last);
  }
  void copy(size_t begin, size_t end) {
    out_.text.append(in_.text, begin, end - begin);
    if (in_.trusted.empty()) return;
    out_.trusted.insert(out_.trusted.end(), in_.trusted.begin() + static_cast<ptrdiff_t>(begin),
                        in_.trusted.begin() + static_cast<ptrdiff_t>(end));
  }
  FlaggedText take() { return std::move(out_); }

 private:
  const FlaggedText& in_;
  FlaggedText out_;
};

// One of the four Unicode normalisation forms. Works segment by segment: a segment starts at a
// character that neither combines with what is before it nor moves across it.
class UnicodeForm {
 public:
  explicit UnicodeForm(NormalizerStep::Kind kind)
      : compose_(kind == NormalizerStep::kNfc || kind == NormalizerStep::kNfkc) {
    const bool compatible = kind == NormalizerStep::kNfkc || kind == NormalizerStep::kNfkd;
    decompose_ = static_cast<utf8proc_option_t>(UTF8PROC_DECOMPOSE | UTF8PROC_STABLE |
                                                (compatible ? UTF8PROC_COMPAT : 0));
    // Characters below these are their own form and combine with nothing.
    stable_below_ = compatible ? 0x80 : compose_ ? 0x300 : 0xc0;
  }

  FlaggedText apply(const FlaggedText& in) {
    Output out(in);
    const std::string_view text = in.text;
    size_t copied = 0, segment = 0;  // text before `copied` is done; the segment [segment, pos)
    bool stable = true;              // the segment is known to be its own normal form
    code_points_.clear();
    const auto end_segment = [&](size_t pos) {
      if (!stable) {
        out.copy(copied, segment);
        append_normal_form(out.text());
        out.flag(segment, pos);
        copied = pos;
      }
      code_points_.clear();
      segment = pos;
      stable = true;
    };
    for (size_t pos = 0; pos < text.size();) {
      const auto lead = static_cast<unsigned char>(text[pos]);
      const char32_t c = lead < 0x80 ? lead : utf8_decode(text, pos);
      if (c < stable_below_ || is_common_and_stable(c) || is_inert_in_normalization(c)) {
        end_segment(pos);  // its code point is found in the text if it is needed
      } else {
        parts_.clear();
        decompose(c, &parts_);
        if (starts_segment(parts_[0])) {
          end_segment(pos);
          stable = parts_.size() == 1 && parts_[0] == static_cast<int32_t>(c);
        } else {
          if (code_points_.empty() && segment < pos) {
            decompose(utf8_decode(text, segment), &code_points_);
          }
          stable = false;
        }
        code_points_.insert(code_points_.end(), parts_.begin(), parts_.end());
      }
      pos += utf8_length(lead);
    }
    end_segment(text.size());
    out.copy(copied, text.size());
    return out.take();
  }

 private:
  void decompose(char32_t c, std::vector<int32_t>* out) const {
    const auto code_point = static_cast<int32_t>(c);
    if (is_inert_in_normalization(c)) return out->push_back(code_point);
    std::array<int32_t, 32> parts;
    int boundary_class = 0;
    const auto count = utf8proc_decompose_char(code_point, parts.data(), parts.size(), decompose_,
                                               &boundary_class);
    CHECK(count > 0 && static_cast<size_t>(count) <= parts.size());
    out->insert(out->end(), parts.begin(), parts.begin() + count);
  }

  bool is_common_and_stable(char32_t c) const {
    return (c >= 0x3400 && c <= 0x9fff) || (compose_ && c >= 0xac00 && c <= 0xd7a3);
  }

  // All that can combine with a character before it are marks and the vowels and finals of Hangul.
  // U+11A7 is none of these, though utf8proc 2.8 would take it for a final.
  static bool starts_segment(int32_t c) {
    if (c >= 0x1160 && c <= 0x11ff) return c == 0x11a7;
    const utf8proc_category_t category = utf8proc_category(c);
    return category != UTF8PROC_CATEGORY_MN && category != UTF8PROC_CATEGORY_MC &&
           category != UTF8PROC_CATEGORY_ME;
  }

  void append_normal_form(std::string* out) {
    // Canonical order: runs of combining characters by class, else as they were.
    const auto combining_class = [](int32_t c) {
      return is_inert_in_normalization(static_cast<char32_t>(c))
                 ? 0
                 : int{utf8proc_get_property(c)->combining_class};
    };
    for (size_t i = 0; i < code_points_.size();) {
      if (combining_class(code_points_[i]) == 0) {
        ++i;
        continue;
      }
      size_t end = i;
      while (end < code_points_.size() && combining_class(code_points_[end]) != 0) ++end;
      std::stable_sort(
          code_points_.begin() + static_cast<ptrdiff_t>(i),
          code_points_.begin() + static_cast<ptrdiff_t>(end),
          [&](int32_t a, int32_t b) { return combining_class(a) < combining_class(b); });
      i = end;
    }
    auto count = static_cast<utf8proc_ssize_t>(code_points_.size());
    if (compose_) {
      count = utf8proc_normalize_utf32(
          code_points_.data(), count,
          static_cast<utf8proc_option_t>(UTF8PROC_COMPOSE | UTF8PROC_STABLE));
      CHECK(count >= 0);
    }
    for (utf8proc_ssize_t i = 0; i < count; ++i) {
      utf8_append(static_cast<char32_t>(code_points_[static_cast<size_t>(i)]), out);
    }
  }

  bool compose_;
  utf8proc_option_t decompose_;
  char32_t stable_below_;
  std::vector<int32_t> code_points_;  // of the segment, decomposed
  std::vector<int32_t> parts_;        // of one character
};

FlaggedText lowercase(const FlaggedText& in) {
  Output out(in);
  for (size_t pos = 0; pos < in.text.size();) {
    const size_t bytes = utf8_length(static_cast<unsigned char>(in.text[pos]));
    append_lowercase(utf8_decode(in.text, pos), out.text());
    out.flag(pos, pos + bytes);
    pos += bytes;
  }
  return out.take();
}

FlaggedText strip(const FlaggedText& in, bool left, bool right) {
  Output out(in);
  size_t begin = 0, end = in.text.size();
  while (left && begin < end && is_white_space(utf8_decode(in.text, begin))) {
    begin += utf8_length(static_cast<unsigned char>(in.text[begin]));
  }
  while (right && begin < end) {
    const size_t last = utf8_previous(in.text, end);
    if (!is_white_space(utf8_decode(in.text, last))) break;
    end = last;
  }
  out.copy(begin, end);
  return out.take();
}

FlaggedText prepend(const FlaggedText& in, const std::string& content) {
  Output out(in);
  if (!in.text.empty()) {
    *out.text() += content;
    out.flag(0, 1);
    out.copy(0, in.text.size());
  }
  return out.take();
}

FlaggedText replace(const FlaggedText& in, const Pattern& pattern, const std::string& content) {
  Output out(in);
  std::string stand_ins;
  const bool replaced = replace_by_stand_ins(in.text, &stand_ins);
  PatternMatcher matcher(pattern, replaced ? stand_ins : in.text);
  size_t done = 0;
  for (PatternMatcher::Match match; matcher.next(&match);) {
    out.copy(done, match.begin);
    *out.text() += content;
    out.flag(match.begin, match.end);
    done = match.end;
  }
  out.copy(done, in.text.size());
  return out.take();
}

}  // namespace

Normalizer::Normalizer(const std::vector<NormalizerStep>& steps, const std::string& name) {
  for (const NormalizerStep& step : steps) {
    const bool replaces = step.kind == NormalizerStep::kReplace;
    steps_.push_back({step, replaces ? Pattern(step.pattern, name) : Pattern()});
  }
}

void Normalizer::apply(FlaggedText* text) const {
  for (const Step& step : steps_) {
    const NormalizerStep& spec = step.spec;
    switch (spec.kind) {
      case NormalizerStep::kNfc:
      case NormalizerStep::kNfd:
      case NormalizerStep::kNfkc:
      case NormalizerStep::kNfkd:
        if (!is_ascii(text->text)) *text = UnicodeForm(spec.kind).apply(*text);
        break;
      case NormalizerStep::kLowercase:
        *text = lowercase(*text);
        break;
      case NormalizerStep::kStrip:
        *text = strip(*text, spec.strip_left, spec.strip_right);
        break;
      case NormalizerStep::kPrepend:
        *text = prepend(*text, spec.content);
        break;
      case NormalizerStep::kReplace:
        *text = replace(*text, step.pattern, spec.content);
        break;
    }
  }
}

std::string Normalizer::apply(std::string_view text) const {
  FlaggedText flagged{std::string(text), {}};
  apply(&flagged);
  return std::move(flagged.text);
}

}  // namespace flashmoe::text
