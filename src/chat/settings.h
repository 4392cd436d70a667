// What /set changes: the request's sampling fields and how answers are shown. Owns names, ranges
// and their help.
#pragma once

#include <string>

#include "chat/answer_printer.h"
#include "chat/conversation.h"
#include "text/thinking.h"

namespace flashmoe::chat {

struct Settings {
  Json request = Json::object();  // fields that go into every request, as the API names them
  text::Thinking reasoning;
  ShowThink show_think = ShowThink::kHide;

  // Throws Error kUsage that says what is possible. "default" as a value unsets.
  void set(const std::string& name, const std::string& value);
  std::string list() const;  // name, value and meaning of each, a line each
};

ShowThink parse_show_think(const std::string& text);  // "hide", "dim", "show"; throws Error kUsage

}  // namespace flashmoe::chat
