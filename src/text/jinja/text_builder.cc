#include "text/jinja/text_builder.h"

namespace flashmoe::text::jinja {

void TextBuilder::append(std::string_view bytes, bool own) {
  if (bytes.empty()) return;
  context_.charge(bytes.size());
  const size_t begin = text_.text.size();
  text_.text.append(bytes);
  if (!own) return;
  auto& ranges = text_.from_template;
  if (!ranges.empty() && ranges.back().end == begin) {
    ranges.back().end = text_.text.size();
  } else {
    ranges.push_back({begin, text_.text.size()});
  }
}

void TextBuilder::append(const MarkedText& text, size_t begin, size_t end) {
  for_each_run(text, begin, end, [&](size_t run_begin, size_t run_end, bool own) {
    append(std::string_view(text.text).substr(run_begin, run_end - run_begin), own);
  });
}

MarkedText substring(Context& context, const MarkedText& text, size_t begin, size_t end) {
  TextBuilder out(context);
  out.append(text, begin, end);
  return out.take();
}

bool all_own(const MarkedText& text) {
  if (text.text.empty()) return true;
  return text.from_template.size() == 1 && text.from_template[0].begin == 0 &&
         text.from_template[0].end == text.text.size();
}

}  // namespace flashmoe::text::jinja
