// flashmoe chat: the conversation at the terminal, its commands and its rounds of tool calls. Owns
// the conversation; answers come from an Api, lines from a LineEditor.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "chat/answer_printer.h"
#include "chat/api.h"
#include "chat/conversation.h"
#include "chat/settings.h"
#include "chat/tools.h"
#include "terminal/line_editor.h"

namespace flashmoe::chat {

// Opens the place that `model` names: a model for a local chat, one of a server's for a remote one.
using OpenApi = std::function<std::unique_ptr<Api>(const std::string& model)>;

struct ChatParts {
  OpenApi open;
  // Throws Error if there is no such model, before the one in use is given up for it.
  std::function<void(const std::string& model)> look_for;
  ConversationStore store;
  Settings settings;
  ToolBox tools;
  Screen screen;
  std::string history_file;
};

class Chat {
 public:
  explicit Chat(ChatParts parts);

  // Goes on with a conversation, or begins one with a system message.
  void resume(const std::string& name);
  void set_system(const std::string& text) { conversation_.set_system(text); }

  // Until /quit or the end of the input. Throws Error when the model cannot be opened.
  void run(const std::string& model);

 private:
  struct Command;
  static const Command kCommands[];

  void open(const std::string& model);
  void take(const std::string& text);
  bool command(const std::string& line);  // false: it is none
  void answer();
  // One request; the assistant's message, also when it was stopped halfway.
  Json ask_model();
  void call_tools(const Json& calls);
  void save();
  void say(const std::string& text, bool dim = false) const;
  Json request_body() const;
  void show_conversation() const;

  void help(const std::string&);
  void start_new(const std::string&);
  void save_as(const std::string& path);
  void load(const std::string& name);
  void list_sessions(const std::string&);
  void change_system(const std::string& text);
  void change_model(const std::string& name);
  void change_setting(const std::string& words);
  void show_stats(const std::string&);
  void quit(const std::string&) { done_ = true; }

  ChatParts parts_;
  terminal::LineEditor editor_;
  std::unique_ptr<Api> api_;
  std::string opened_;  // what `open` was asked for
  std::string model_;   // as the API names it
  Conversation conversation_;
  Json last_usage_;
  double last_answer_s_ = 0;
  bool done_ = false;
};

// What --sessions prints.
std::string sessions_text(const ConversationStore& store);

}  // namespace flashmoe::chat
