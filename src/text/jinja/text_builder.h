// Building and cutting marked text. Knows nothing of Unicode: positions are bytes.
#pragma once

#include <algorithm>
#include <cstddef>
#include <string_view>
#include <utility>

#include "text/jinja/context.h"
#include "text/marked_text.h"

namespace flashmoe::text::jinja {

class TextBuilder {
 public:
  explicit TextBuilder(Context& context) : context_(context) {}

  void append(std::string_view bytes, bool own);
  void append(const MarkedText& text) { append(text, 0, text.text.size()); }
  void append(const MarkedText& text, size_t begin, size_t end);

  size_t size() const { return text_.text.size(); }
  MarkedText take() { return std::move(text_); }

 private:
  Context& context_;
  MarkedText text_;
};

// Calls f(begin, end, own) for each run of equally marked bytes of [begin, end), in order.
template <typename F>
void for_each_run(const MarkedText& text, size_t begin, size_t end, F f) {
  const auto& ranges = text.from_template;
  // The first range that ends after `begin`.
  size_t low = 0, high = ranges.size();
  while (low < high) {
    const size_t middle = (low + high) / 2;
    if (ranges[middle].end > begin) {
      high = middle;
    } else {
      low = middle + 1;
    }
  }
  for (size_t i = low; begin < end; ++i) {
    const bool more = i < ranges.size() && ranges[i].begin < end;
    const size_t own_begin = more ? std::max(ranges[i].begin, begin) : end;
    if (begin < own_begin) f(begin, own_begin, false);
    const size_t own_end = more ? std::min(ranges[i].end, end) : end;
    if (own_begin < own_end) f(own_begin, own_end, true);
    begin = own_end;
  }
}

MarkedText substring(Context& context, const MarkedText& text, size_t begin, size_t end);
// True when the template wrote every byte.
bool all_own(const MarkedText& text);

}  // namespace flashmoe::text::jinja
