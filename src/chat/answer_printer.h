// An answer on the terminal as it comes: reasoning hidden, dim or plain, the rest as Markdown; or
// as it is, where there is no terminal.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "terminal/markdown_printer.h"

namespace flashmoe::chat {

enum class ShowThink { kHide, kDim, kShow };

struct Screen {
  bool styled = false;  // escape sequences are understood
  int width = 80;       // columns
  // Of standard output. Not styled: no terminal, a dumb one, or NO_COLOR is set.
  static Screen of_stdout();
};

class AnswerPrinter {
 public:
  AnswerPrinter(const Screen& screen, ShowThink show_think, terminal::TextSink sink);

  void reasoning(std::string_view text);
  void content(std::string_view text);
  void end();

 private:
  enum class Part { kNone, kReasoning, kContent };
  void begin(Part part);

  Screen screen_;
  ShowThink show_think_;
  terminal::TextSink sink_;
  Part part_ = Part::kNone;
  bool ends_line_ = true;  // what was printed as it is
  std::unique_ptr<terminal::MarkdownPrinter> markdown_;
};

}  // namespace flashmoe::chat
