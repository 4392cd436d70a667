#include "chat/answer_printer.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include <cstdlib>

namespace flashmoe::chat {

namespace {

constexpr std::string_view kDim = "\x1b[2m", kReset = "\x1b[0m", kClearLine = "\r\x1b[K";

// What a model writes must not speak to the terminal.
std::string without_controls(std::string_view text) {
  std::string clean(text);
  std::erase_if(clean, [](char c) {
    return c != '\n' && c != '\t' && (static_cast<unsigned char>(c) < 0x20 || c == '\x7f');
  });
  return clean;
}

}  // namespace

Screen Screen::of_stdout() {
  Screen screen;
  const char* term = std::getenv("TERM");
  screen.styled = isatty(STDOUT_FILENO) != 0 && term != nullptr &&
                  std::string_view(term) != "dumb" && std::getenv("NO_COLOR") == nullptr;
  winsize size{};
  if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0) screen.width = size.ws_col;
  return screen;
}

AnswerPrinter::AnswerPrinter(const Screen& screen, ShowThink show_think, terminal::TextSink sink)
    : screen_(screen), show_think_(show_think), sink_(std::move(sink)) {}

void AnswerPrinter::begin(Part part) {
  if (part == part_) return;
  if (part_ == Part::kReasoning) {
    if (show_think_ == ShowThink::kHide) {
      if (screen_.styled) sink_(kClearLine);
    } else {
      if (screen_.styled && show_think_ == ShowThink::kDim) sink_(kReset);
      sink_(ends_line_ ? "\n" : "\n\n");
    }
  }
  part_ = part;
  if (part == Part::kReasoning && screen_.styled) {
    if (show_think_ == ShowThink::kHide) sink_("\x1b[2mthinking…\x1b[0m");
    if (show_think_ == ShowThink::kDim) sink_(kDim);
  }
  if (part == Part::kContent && screen_.styled) {
    markdown_ = std::make_unique<terminal::MarkdownPrinter>(screen_.width, sink_);
  }
}

void AnswerPrinter::reasoning(std::string_view text) {
  if (text.empty()) return;
  begin(Part::kReasoning);
  if (show_think_ == ShowThink::kHide) return;
  sink_(screen_.styled ? without_controls(text) : std::string(text));
  ends_line_ = text.ends_with('\n');
}

void AnswerPrinter::content(std::string_view text) {
  if (text.empty()) return;
  begin(Part::kContent);
  if (markdown_) {
    markdown_->put(text);
  } else {
    sink_(text);
    ends_line_ = text.ends_with('\n');
  }
}

void AnswerPrinter::end() {
  if (markdown_) {
    markdown_->end();
    markdown_.reset();
  } else if (part_ == Part::kContent && !ends_line_) {
    sink_("\n");
  }
  begin(Part::kNone);
}

}  // namespace flashmoe::chat
