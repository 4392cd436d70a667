#include "terminal/line_editor.h"

#include <histedit.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string_view>

namespace flashmoe::terminal {

namespace {

constexpr int kHistoryLines = 1000;
constexpr std::string_view kBlockMark = "\"\"\"";

bool has_editing_terminal() {
  const char* term = std::getenv("TERM");
  return isatty(STDIN_FILENO) != 0 && isatty(STDOUT_FILENO) != 0 && term != nullptr &&
         std::string_view(term) != "dumb";
}

}  // namespace

struct LineEditor::Editor {
  Editor() {
    edit_line = el_init("flashmoe", stdin, stdout, stderr);
    history = history_init();
    HistEvent event;
    ::history(history, &event, H_SETSIZE, kHistoryLines);
    ::history(history, &event, H_SETUNIQUE, 1);
    el_set(edit_line, EL_CLIENTDATA, this);
    el_set(edit_line, EL_PROMPT, &Editor::prompt_of);
    el_set(edit_line, EL_EDITOR, "emacs");
    el_set(edit_line, EL_HIST, ::history, history);
    // Ctrl-C reaches the program's own handler, and ends the read.
    el_set(edit_line, EL_SIGNAL, 0);
    el_set(edit_line, EL_BIND, "^R", "em-inc-search-prev", nullptr);
    el_source(edit_line, nullptr);  // the user's ~/.editrc
  }
  ~Editor() {
    history_end(history);
    el_end(edit_line);
  }

  static char* prompt_of(EditLine* edit_line) {
    Editor* self = nullptr;
    el_get(edit_line, EL_CLIENTDATA, &self);
    return self->prompt.data();
  }

  EditLine* edit_line;
  History* history;
  std::string prompt;
};

LineEditor::LineEditor(const std::string& history_file) : history_file_(history_file) {
  typed_ = isatty(STDIN_FILENO) != 0;
  if (!has_editing_terminal()) return;
  editor_ = std::make_unique<Editor>();
  HistEvent event;
  if (!history_file_.empty()) history(editor_->history, &event, H_LOAD, history_file_.c_str());
}

LineEditor::~LineEditor() = default;

LineEditor::Line LineEditor::read_line(const std::string& prompt) {
  if (!editor_) {
    if (typed_) {
      std::fputs(prompt.c_str(), stdout);
      std::fflush(stdout);
    }
    std::string text;
    for (;;) {
      errno = 0;
      const int c = std::getchar();
      if (c == EOF) {
        if (std::ferror(stdin) != 0 && errno == EINTR) {
          std::clearerr(stdin);
          return {Status::kInterrupted, ""};
        }
        return {text.empty() ? Status::kEnd : Status::kLine, text};
      }
      if (c == '\n') return {Status::kLine, text};
      text += static_cast<char>(c);
    }
  }
  editor_->prompt = prompt;
  int bytes = 0;
  errno = 0;
  const char* line = el_gets(editor_->edit_line, &bytes);
  if (line == nullptr || bytes <= 0) {
    const bool interrupted = bytes < 0 && errno == EINTR;
    std::fputs("\n", stdout);
    if (interrupted) el_reset(editor_->edit_line);
    return {interrupted ? Status::kInterrupted : Status::kEnd, ""};
  }
  std::string text(line, static_cast<size_t>(bytes));
  while (text.ends_with('\n') || text.ends_with('\r')) text.pop_back();
  return {Status::kLine, text};
}

LineEditor::Input LineEditor::read(const std::string& prompt) {
  const std::string next_prompt = "... ";
  Line line = read_line(prompt);
  if (line.status != Status::kLine) return {line.status, ""};
  std::string text;
  if (line.text.starts_with(kBlockMark)) {
    std::string rest = line.text.substr(kBlockMark.size());
    for (;;) {
      const size_t mark = rest.find(kBlockMark);
      text += rest.substr(0, mark);
      if (mark != std::string::npos) break;
      line = read_line(next_prompt);
      if (line.status == Status::kInterrupted) return {line.status, ""};
      if (line.status == Status::kEnd) break;
      rest = line.text;
      if (!text.empty()) text += '\n';
    }
  } else {
    text = line.text;
    while (text.ends_with('\\')) {
      text.back() = '\n';
      line = read_line(next_prompt);
      if (line.status == Status::kInterrupted) return {line.status, ""};
      if (line.status == Status::kEnd) break;
      text += line.text;
    }
  }
  remember(text);
  return {Status::kLine, text};
}

void LineEditor::remember(const std::string& text) {
  if (!editor_ || text.find_first_not_of(" \t\n") == std::string::npos) return;
  HistEvent event;
  history(editor_->history, &event, H_ENTER, text.c_str());
  if (!history_file_.empty()) history(editor_->history, &event, H_SAVE, history_file_.c_str());
}

}  // namespace flashmoe::terminal
