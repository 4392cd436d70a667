// flashmoe chat: a conversation at the terminal, with a model of its own or with a server's.
#include "chat/chat.h"

#include <fmt/format.h>

#include <filesystem>
#include <memory>
#include <string>

#include "base/error.h"
#include "chat/api.h"
#include "cli/commands.h"
#include "cli/locate.h"
#include "cli/open_engine.h"
#include "engine/batcher.h"
#include "engine/text_model.h"
#include "server/api.h"

namespace flashmoe::cli {

namespace {

// A model in this process, behind the server's API without its sockets.
class LocalModel final : public chat::Api {
 public:
  explicit LocalModel(const ModelOptions& options)
      : folder_(model_folder(options.model)),
        text_(folder_, options.template_path),
        engine_(open_engine(options, folder_)),
        batcher_(*engine_),
        api_(*engine_, text_, batcher_,
             {.model_name = display_name(options.model, folder_), .access = {}}),
        chat_(chat::make_local_api(
            [this](std::shared_ptr<http::Exchange> e) { api_.handle(std::move(e)); })) {}
  ~LocalModel() override { batcher_.shutdown(false); }

  chat::Json get(const std::string& path) override { return chat_->get(path); }
  void stream(const std::string& path, const chat::Json& body,
              const std::function<void(const chat::Json&)>& event,
              const std::function<bool()>& stop) override {
    chat_->stream(path, body, event, stop);
  }

 private:
  const std::string folder_;
  const engine::TextModel text_;
  const std::unique_ptr<Engine> engine_;
  engine::Batcher batcher_;
  server::Api api_;
  const std::unique_ptr<chat::Api> chat_;
};

chat::Settings make_settings(const ChatOptions& o) {
  chat::Settings settings;
  for (const auto& [name, value] : o.settings) {
    if (value) settings.set(name, *value);
  }
  if (!o.think.empty()) settings.set("reasoning", o.think);
  if (!o.show_think.empty()) settings.set("show-think", o.show_think);
  return settings;
}

std::string history_file(const chat::ConversationStore& store) {
  const std::filesystem::path folder = std::filesystem::path(store.folder()).parent_path();
  std::error_code ignored;  // without the folder there is no history
  std::filesystem::create_directories(folder, ignored);
  return folder / "history";
}

}  // namespace

int chat(const ChatOptions& o) {
  const chat::ConversationStore store(chat::ConversationStore::default_folder());
  if (o.list_sessions) {
    fmt::print("{}", chat::sessions_text(store));
    return 0;
  }
  if (!o.url.empty() && !o.model.model.empty()) {
    throw Error(ErrorCode::kUsage, "with --url the server has the model: leave MODEL out");
  }
  // Each turn goes on from the state that the last one left.
  constexpr uint64_t kPrefixCacheBytes = uint64_t{256} << 20;
  chat::ChatParts parts{.open = {},
                        .look_for = {},
                        .store = store,
                        .settings = make_settings(o),
                        .tools = {},
                        .screen = chat::Screen::of_stdout(),
                        .history_file = history_file(store)};
  if (!o.tools.empty()) parts.tools.load(o.tools);
  parts.tools.set_shell(o.shell);
  parts.open = [&](const std::string& model) -> std::unique_ptr<chat::Api> {
    if (!o.url.empty()) return chat::make_remote_api(o.url, o.api_key);
    ModelOptions options = o.model;
    options.model = model;
    options.engine.prefix_cache_bytes = kPrefixCacheBytes;
    return std::make_unique<LocalModel>(options);
  };
  parts.look_for = [&](const std::string& model) {
    if (o.url.empty()) model_folder(model);
  };
  chat::Chat chat(std::move(parts));
  if (!o.resume.empty()) chat.resume(o.resume);
  if (o.system) {
    const bool from_file = o.system->starts_with("@");
    chat.set_system(from_file ? read_text(o.system->substr(1), "system message") : *o.system);
  }
  chat.run(o.model.model);
  return 0;
}

}  // namespace flashmoe::cli
