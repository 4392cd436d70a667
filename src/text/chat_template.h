// Chat templates: Jinja as `transformers` renders it, to the byte. Every byte of the output is
// marked as the template's own or a message's. Owns the parsed template and where its source is
// found; the language itself is in text/jinja/.
//
// Marks. The template's: its text and its literals, and the strings of the variables that the
// caller trusts (bos_token and the like). A message's: every other string of the variables. Marks
// follow the bytes through all operations. What is computed - numbers, True, None, the brackets and
// quotes of printed lists and of JSON - is the template's if the template made the value, and the
// message's if the value came from the variables or was computed from one that did.
//
// Not as in jinja2: integers of more than 128 bits, `autoescape` blocks, `self`, `lipsum`,
// str.encode, characters by name, grouped digits filled with zeros, and the filters random, urlize,
// wordwrap and xmlattr are refused; what would print an address in memory prints none.
//
// Errors. kCorrupt: the template is not valid Jinja. kUsage: rendering failed, by raise_exception
// or because the conversation does not fit the template, or it exceeded the bounds of
// text/jinja/context.h.
#pragma once

#include <ctime>
#include <filesystem>
#include <functional>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "text/jinja/context.h"
#include "text/marked_text.h"

namespace flashmoe::text {

namespace jinja {
struct Stmt;
}

struct RenderOptions {
  std::vector<std::string> trusted;  // variables whose strings count as the template's
  std::function<std::tm()> now;      // for strftime_now; local time if empty
  jinja::Limits limits = {};
};

class ChatTemplate {
 public:
  // `name` is for error messages: usually a path.
  static ChatTemplate parse(std::string source, std::string name);

  // `variables` is an object: messages, tools, add_generation_prompt, bos_token, ... May be called
  // from several threads.
  MarkedText render(const nlohmann::ordered_json& variables,
                    const RenderOptions& options = {}) const;

 private:
  using Body = std::vector<std::unique_ptr<jinja::Stmt>>;
  std::string name_;
  std::shared_ptr<const Body> body_;
};

struct ModelChatTemplate {
  ChatTemplate chat_template;
  // Special tokens by the names that templates use (bos_token, eos_token, ...): trusted variables.
  nlohmann::ordered_json tokens;

  // Renders with these tokens as variables too; a variable of the same name wins, untrusted.
  MarkedText render(nlohmann::ordered_json variables) const;
};

// The template of a model folder, from chat_template.jinja or else tokenizer_config.json; with
// tools, the variant "tool_use" if there is one. Nothing if the model has no template.
std::optional<ModelChatTemplate> load_chat_template(const std::filesystem::path& folder,
                                                    bool with_tools);

}  // namespace flashmoe::text
