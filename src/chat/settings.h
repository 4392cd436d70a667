// What /set changes: the request's sampling fields and how answers are shown. Owns names, ranges
// and their help.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "chat/answer_printer.h"
#include "chat/conversation.h"

namespace flashmoe::chat {

struct Settings {
  Json request = Json::object();  // fields that go into every request, as the API names them
  std::optional<bool> reasoning;  // the template's switch; unset: as the model does it
  std::optional<int64_t> reasoning_budget;  // tokens; unset: no limit
  ShowThink show_think = ShowThink::kHide;

  // Throws Error kUsage that says what is possible. "default" as a value unsets.
  void set(const std::string& name, const std::string& value);
  std::string list() const;  // name, value and meaning of each, a line each

 private:
  void set_reasoning(const std::string& value);
  std::string reasoning_text() const;
};

ShowThink parse_show_think(const std::string& text);  // "hide", "dim", "show"; throws Error kUsage

}  // namespace flashmoe::chat
