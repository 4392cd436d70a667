#include "terminal/text_width.h"

#include <utf8proc.h>

#include <algorithm>

#include "text/utf8.h"

namespace flashmoe::terminal {

int code_point_width(char32_t code_point) {
  return std::max(0, utf8proc_charwidth(static_cast<utf8proc_int32_t>(code_point)));
}

int text_width(std::string_view text) {
  int width = 0;
  for (size_t pos = 0; pos < text.size();
       pos += text::utf8_length(static_cast<unsigned char>(text[pos]))) {
    width += code_point_width(text::utf8_decode(text, pos));
  }
  return width;
}

}  // namespace flashmoe::terminal
