// Lines typed at a terminal, with editing and a history that is kept in a file; plain lines where
// there is no terminal to edit on. Wraps libedit.
#pragma once

#include <memory>
#include <optional>
#include <string>

namespace flashmoe::terminal {

class LineEditor {
 public:
  // Edits if standard input and output are terminals and not dumb ones. `history_file` may not
  // exist yet; empty: nothing is kept. What cannot be read or written of it is ignored: it is a
  // comfort.
  explicit LineEditor(const std::string& history_file);
  ~LineEditor();

  enum class Status { kLine, kInterrupted, kEnd };  // Ctrl-C, Ctrl-D or the end of a file
  struct Input {
    Status status = Status::kEnd;
    std::string text;  // valid only with kLine; may hold newlines
  };
  // One message. A line that ends with a backslash goes on in the next one; a line that begins with
  // """ begins a text that ends with """. `prompt` is printed before, where input is typed.
  Input read(const std::string& prompt);

 private:
  struct Editor;
  struct Line {
    Status status;
    std::string text;
  };
  Line read_line(const std::string& prompt);
  void remember(const std::string& text);

  std::string history_file_;
  std::unique_ptr<Editor> editor_;  // none: plain lines
  bool typed_ = false;              // whether somebody sees a prompt
};

}  // namespace flashmoe::terminal
