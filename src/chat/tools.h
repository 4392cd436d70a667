// Tools that a model may call in a chat: a shell, and commands that the user named in a file. Owns
// their declarations and how a call becomes a command line.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "chat/command.h"
#include "chat/conversation.h"

namespace flashmoe::chat {

struct Tool {
  std::string name, description;
  Json parameters;                   // a JSON schema
  std::vector<std::string> command;  // words; {name} stands for an argument, or its JSON
  bool ask = true;                   // before each call
  CommandLimits limits;
};

class ToolBox {
 public:
  // What the user is asked: whether to run this command line.
  using Ask = std::function<bool(const std::string& command)>;

  void set_shell(bool on);
  bool has_shell() const;
  // A JSON list of {"name", "description", "parameters", "command": ["prog", "{argument}"], "ask",
  // "timeout_s", "output_bytes"}. The command also gets the call's arguments as JSON on its
  // standard input. Throws Error with file and entry.
  void load(const std::string& path);

  bool empty() const { return tools_.empty(); }
  // As the API's `tools`.
  Json declarations() const;
  // What the tool says, or what is wrong with the call: always something to tell the model.
  std::string call(const std::string& name, const std::string& arguments, const Ask& ask,
                   const std::function<bool()>& stop) const;

 private:
  std::vector<Tool> tools_;
};

}  // namespace flashmoe::chat
