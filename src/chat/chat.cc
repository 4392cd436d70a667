#include "chat/chat.h"

#include <fmt/chrono.h>
#include <fmt/format.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <fstream>

#include "base/atomic_file.h"
#include "base/error.h"
#include "base/interrupt.h"
#include "chat/stats_text.h"

namespace flashmoe::chat {

namespace {

constexpr int kMostRounds = 50;  // of tool calls in one answer

void print(std::string_view text) {
  std::fwrite(text.data(), 1, text.size(), stdout);
  std::fflush(stdout);
}

// Adds a delta of the API to a message.
void extend(Json* message, const Json& delta) {
  for (const char* key : {"content", "reasoning_content"}) {
    const auto piece = delta.find(key);
    if (piece == delta.end() || !piece->is_string()) continue;
    (*message)[key] = message->value(key, "") + piece->get<std::string>();
  }
  for (const Json& part : delta.value("tool_calls", Json::array())) {
    Json& calls = (*message)["tool_calls"];
    const size_t index = part.value("index", size_t{0});
    if (index > calls.size()) continue;
    if (index == calls.size()) {
      calls.push_back(
          {{"id", ""}, {"type", "function"}, {"function", {{"name", ""}, {"arguments", ""}}}});
    }
    Json& call = calls[index];
    if (part.contains("id") && part["id"].is_string()) call["id"] = part["id"];
    const Json& function = part.value("function", Json::object());
    for (const char* key : {"name", "arguments"}) {
      call["function"][key] = call["function"].value(key, "") + function.value(key, "");
    }
  }
}

std::string first_word(const std::string& text, std::string* rest) {
  const size_t end = std::min(text.find_first_of(" \t\n"), text.size());
  const size_t next = text.find_first_not_of(" \t\n", end);
  *rest = next == std::string::npos ? "" : text.substr(next);
  return text.substr(0, end);
}

}  // namespace

struct Chat::Command {
  const char* name;
  const char* arguments;
  const char* help;
  void (Chat::*run)(const std::string& rest);
};

const Chat::Command Chat::kCommands[] = {
    {"/help", "", "this list", &Chat::help},
    {"/new", "", "begin a new conversation", &Chat::start_new},
    {"/save", "[FILE]", "write the conversation, also to FILE", &Chat::save_as},
    {"/load", "ID|FILE", "go on with another conversation", &Chat::load},
    {"/sessions", "", "list the conversations that are kept", &Chat::list_sessions},
    {"/system", "[TEXT|-]", "show, set or (-) remove the system message", &Chat::change_system},
    {"/model", "[NAME]", "show or change the model", &Chat::change_model},
    {"/set", "[NAME VALUE]", "show or change settings: temperature, reasoning, …",
     &Chat::change_setting},
    {"/stats", "", "speed of the last answer, and what the engine does", &Chat::show_stats},
    {"/quit", "", "leave (Ctrl-D does so, too)", &Chat::quit},
};

Chat::Chat(ChatParts parts) : parts_(std::move(parts)), editor_(parts_.history_file) {}

void Chat::say(const std::string& text, bool dim) const {
  if (dim && parts_.screen.styled) {
    print(fmt::format("\x1b[2m{}\x1b[0m\n", text));
  } else {
    print(text + "\n");
  }
}

void Chat::open(const std::string& model) {
  api_.reset();  // before the next one takes memory
  api_ = parts_.open(model);
  opened_ = model;
  const Json models = api_->get("/v1/models").value("data", Json::array());
  model_.clear();
  for (const Json& entry : models) {
    const std::string id = entry.value("id", "");
    if (model_.empty() || id == model) model_ = id;
  }
}

void Chat::run(const std::string& model) {
  install_interrupt();
  open(model);
  const bool talks = isatty(STDIN_FILENO) != 0;
  if (talks) {
    say(fmt::format("{}: /help lists commands, Ctrl-C stops an answer, Ctrl-D leaves.", model_),
        true);
    if (!conversation_.messages.empty()) show_conversation();
  }
  while (!done_) {
    clear_interrupt();
    const terminal::LineEditor::Input input = editor_.read("> ");
    if (input.status == terminal::LineEditor::Status::kEnd) break;
    if (input.status == terminal::LineEditor::Status::kInterrupted) {
      if (!talks) break;
      continue;
    }
    try {
      take(input.text);
    } catch (const Error& error) {
      print(fmt::format("{}\n", error.what()));
    }
  }
  if (!conversation_.id.empty() && talks) {
    say(fmt::format("flashmoe chat --resume {}   goes on with this conversation", conversation_.id),
        true);
  }
}

void Chat::take(const std::string& text) {
  if (text.find_first_not_of(" \t\n") == std::string::npos) return;
  if (command(text)) return;
  conversation_.messages.push_back({{"role", "user"}, {"content", text}});
  save();
  answer();
}

bool Chat::command(const std::string& line) {
  if (!line.starts_with('/')) return false;
  std::string rest;
  const std::string name = first_word(line, &rest);
  for (const Command& candidate : kCommands) {
    if (name != candidate.name) continue;
    (this->*candidate.run)(rest);
    return true;
  }
  // A path, or a sum such as /2, is something to say; a word is more likely a mistake.
  if (name.find_first_not_of("abcdefghijklmnopqrstuvwxyz", 1) != std::string::npos) return false;
  throw_error(ErrorCode::kUsage, "there is no command {}; /help lists them", name);
}

Json Chat::request_body() const {
  Json body = parts_.settings.request;
  body["model"] = model_;
  body["messages"] = conversation_.messages;
  body["stream"] = true;
  body["stream_options"] = {{"include_usage", true}};
  const text::Thinking& reasoning = parts_.settings.reasoning;
  if (reasoning.enabled) {
    body["chat_template_kwargs"] = {{"enable_thinking", *reasoning.enabled}};
  }
  if (reasoning.budget >= 0) body["thinking_budget"] = reasoning.budget;
  if (!parts_.tools.empty()) body["tools"] = parts_.tools.declarations();
  return body;
}

Json Chat::ask_model() {
  Json message = {{"role", "assistant"}, {"content", ""}};
  AnswerPrinter printer(parts_.screen, parts_.settings.show_think, print);
  const auto start = std::chrono::steady_clock::now();
  std::string failure;
  try {
    api_->stream(
        "/v1/chat/completions", request_body(),
        [&](const Json& event) {
          if (event.contains("usage") && event["usage"].is_object()) last_usage_ = event["usage"];
          for (const Json& choice : event.value("choices", Json::array())) {
            const Json delta = choice.value("delta", Json::object());
            const auto text_of = [&](const char* key) {
              const auto piece = delta.find(key);
              return piece != delta.end() && piece->is_string() ? piece->get<std::string>() : "";
            };
            printer.reasoning(text_of("reasoning_content"));
            printer.content(text_of("content"));
            extend(&message, delta);
          }
        },
        interrupted);
  } catch (const Error& error) {
    printer.end();
    if (error.code() != ErrorCode::kCancelled) {
      // What was said before it failed is kept, as after a stop.
      if (message["content"] == "") throw;
      failure = error.what();
    }
    message.erase("tool_calls");  // the last may be half a call
    say(failure.empty() ? "(stopped)" : failure, true);
    return message;
  }
  printer.end();
  last_answer_s_ = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  return message;
}

void Chat::answer() {
  for (int round = 0; round < kMostRounds; ++round) {
    clear_interrupt();
    Json message = ask_model();
    const Json calls = message.value("tool_calls", Json::array());
    if (message["content"] != "" || message.contains("reasoning_content") || !calls.empty()) {
      conversation_.messages.push_back(std::move(message));
      save();
    }
    if (calls.empty()) return;
    call_tools(calls);
    if (interrupted()) return;
  }
  say(fmt::format("({} rounds of tool calls are enough; say something to go on)", kMostRounds),
      true);
}

void Chat::call_tools(const Json& calls) {
  const auto ask = [&](const std::string& command_line) {
    say(fmt::format("$ {}", command_line));
    const terminal::LineEditor::Input input = editor_.read("Run this? [y/N] ");
    return input.status == terminal::LineEditor::Status::kLine &&
           (input.text == "y" || input.text == "Y" || input.text == "yes");
  };
  for (const Json& call : calls) {
    const Json& function = call["function"];
    say(fmt::format("[{} {}]", function.value("name", ""), function.value("arguments", "")), true);
    const std::string result = parts_.tools.call(function.value("name", ""),
                                                 function.value("arguments", ""), ask, interrupted);
    say(result, true);
    conversation_.messages.push_back(
        {{"role", "tool"}, {"tool_call_id", call.value("id", "")}, {"content", result}});
  }
  save();
}

void Chat::save() {
  conversation_.model = model_;
  parts_.store.save(&conversation_);
}

void Chat::resume(const std::string& name) { conversation_ = parts_.store.load(name); }

void Chat::show_conversation() const {
  for (const Json& message : conversation_.messages) {
    const std::string role = message.value("role", "");
    const auto content = message.find("content");
    if (content == message.end() || !content->is_string()) continue;
    if (role == "user") {
      say("> " + content->get<std::string>());
    } else if (role == "assistant") {
      AnswerPrinter printer(parts_.screen, ShowThink::kHide, print);
      printer.content(content->get_ref<const std::string&>());
      printer.end();
    }
  }
}

void Chat::help(const std::string&) {
  for (const Command& entry : kCommands) {
    print(fmt::format("  {:<10} {:<13} {}\n", entry.name, entry.arguments, entry.help));
  }
  print("  A line that ends with \\ goes on in the next; \"\"\" begins and ends a longer text.\n");
}

void Chat::start_new(const std::string&) {
  const std::string* system = conversation_.system();
  const std::string kept = system == nullptr ? "" : *system;
  conversation_ = Conversation();
  conversation_.set_system(kept);
  say("A new conversation.", true);
}

void Chat::save_as(const std::string& path) {
  save();
  if (path.empty()) {
    say(fmt::format("Kept as {}.", conversation_.id), true);
    return;
  }
  std::ifstream kept(parts_.store.folder() + "/" + conversation_.id + ".jsonl", std::ios::binary);
  AtomicFile file(path);
  file.write(std::string{std::istreambuf_iterator<char>(kept), {}});
  file.commit();
  say(fmt::format("Kept as {}, and in {}.", conversation_.id, path), true);
}

void Chat::load(const std::string& name) {
  if (name.empty()) throw Error(ErrorCode::kUsage, "/load takes an id of /sessions, or a file");
  resume(name);
  show_conversation();
}

void Chat::list_sessions(const std::string&) { print(sessions_text(parts_.store)); }

void Chat::change_system(const std::string& text) {
  if (!text.empty()) conversation_.set_system(text == "-" ? "" : text);
  const std::string* system = conversation_.system();
  say(system == nullptr ? "There is no system message." : "System message: " + *system, true);
}

void Chat::change_model(const std::string& name) {
  if (!name.empty()) {
    parts_.look_for(name);
    const std::string before = opened_;
    try {
      open(name);
    } catch (const Error& error) {
      print(fmt::format("{}\n", error.what()));
      open(before);
    }
  }
  say(model_, true);
}

void Chat::change_setting(const std::string& words) {
  if (words.empty()) {
    print(parts_.settings.list());
    print(fmt::format("  {:<20} {:<10} {}\n", "shell", parts_.tools.has_shell() ? "on" : "off",
                      "let the model ask to run commands"));
    return;
  }
  std::string value;
  const std::string name = first_word(words, &value);
  if (name == "shell") {
    if (value != "on" && value != "off") throw Error(ErrorCode::kUsage, "shell is on or off");
    parts_.tools.set_shell(value == "on");
  } else {
    parts_.settings.set(name, value);
  }
}

void Chat::show_stats(const std::string&) {
  if (last_usage_.is_object() && last_answer_s_ > 0) {
    const Json details = last_usage_.value("prompt_tokens_details", Json::object());
    say(fmt::format("last answer: {} tokens in {:.2f} s, after a prompt of {}, {} of them cached",
                    last_usage_.value("completion_tokens", int64_t{0}), last_answer_s_,
                    last_usage_.value("prompt_tokens", int64_t{0}),
                    details.value("cached_tokens", int64_t{0})));
  }
  const Json stats = api_->get("/stats");
  if (stats.contains("queue")) print(stats_text(stats));
}

std::string sessions_text(const ConversationStore& store) {
  const std::vector<ConversationStore::Entry> entries = store.list();
  if (entries.empty()) return fmt::format("There are no conversations in {}.\n", store.folder());
  std::string text;
  for (const ConversationStore::Entry& entry : entries) {
    text += fmt::format("{:<17}  {:%Y-%m-%d %H:%M}  {:>3} messages  {}\n", entry.id,
                        fmt::localtime(static_cast<std::time_t>(entry.changed_s)), entry.messages,
                        entry.title);
  }
  return text;
}

}  // namespace flashmoe::chat
