#include "chat/conversation.h"

#include <fmt/chrono.h>
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "base/atomic_file.h"
#include "base/error.h"
#include "text/utf8.h"

namespace flashmoe::chat {

namespace fs = std::filesystem;

namespace {

constexpr size_t kTitleBytes = 70;
constexpr uintmax_t kMostBytes = uintmax_t{256} << 20;  // of a file that is read
constexpr char kKind[] = "flashmoe conversation";

std::string dump(const Json& json) {
  return json.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n";
}

Json parse_line(const std::string& line, const std::string& path, int number) {
  Json json = Json::parse(line, nullptr, false);
  if (!json.is_object()) {
    throw_error(ErrorCode::kCorrupt, "{}: line {} is no JSON object", path, number);
  }
  return json;
}

Conversation read_file(const std::string& path) {
  std::error_code error;
  if (fs::file_size(path, error) > kMostBytes && !error) {
    throw_error(ErrorCode::kCorrupt, "{}: larger than any conversation", path);
  }
  std::ifstream file(path);
  if (!file || !fs::is_regular_file(path, error)) {
    throw_error(ErrorCode::kNotFound,
                "{}: there is no such conversation; flashmoe chat --sessions lists them", path);
  }
  Conversation conversation;
  bool empty = true;
  std::string line;
  for (int number = 1; std::getline(file, line); ++number) {
    Json json = parse_line(line, path, number);
    if (number == 1) {
      if (json.value("kind", "") != kKind) {
        throw_error(ErrorCode::kCorrupt, "{}: this is no conversation of flashmoe chat", path);
      }
      conversation.begun_s = json.value("begun", int64_t{0});
      conversation.model = json.value("model", "");
    } else if (!json.contains("role") || !json["role"].is_string()) {
      throw_error(ErrorCode::kCorrupt, "{}: line {} is no message: it has no role", path, number);
    } else {
      conversation.messages.push_back(std::move(json));
    }
    empty = false;
  }
  if (empty) throw_error(ErrorCode::kCorrupt, "{}: this file is empty", path);
  return conversation;
}

}  // namespace

const std::string* Conversation::system() const {
  if (messages.empty() || messages[0].value("role", "") != "system") return nullptr;
  return messages[0]["content"].get_ptr<const std::string*>();
}

void Conversation::set_system(const std::string& text) {
  if (system() != nullptr) messages.erase(messages.begin());
  if (!text.empty()) {
    messages.insert(messages.begin(), Json{{"role", "system"}, {"content", text}});
  }
}

std::string Conversation::title() const {
  for (const Json& message : messages) {
    if (message.value("role", "") != "user" || !message["content"].is_string()) continue;
    std::string title = message["content"];
    std::replace(title.begin(), title.end(), '\n', ' ');
    if (title.size() <= kTitleBytes) return title;
    size_t end = kTitleBytes;
    while ((static_cast<unsigned char>(title[end]) & 0xc0) == 0x80) --end;
    return title.substr(0, end) + "…";
  }
  return "";
}

std::string ConversationStore::default_folder() {
  if (const char* data = std::getenv("XDG_DATA_HOME"); data != nullptr && *data == '/') {
    return std::string(data) + "/flashmoe/sessions";
  }
  const char* home = std::getenv("HOME");
  return std::string(home == nullptr ? "." : home) + "/.local/share/flashmoe/sessions";
}

void ConversationStore::save(Conversation* conversation) const {
  std::error_code error;
  fs::create_directories(folder_, error);
  if (error) throw_error(ErrorCode::kIo, "{}: {}", folder_, error.message());
  if (conversation->id.empty()) {
    const std::time_t now = std::time(nullptr);
    conversation->begun_s = now;
    const std::string date = fmt::format("{:%Y%m%d-%H%M%S}", fmt::localtime(now));
    conversation->id = date;
    for (int i = 2; fs::exists(path_of(conversation->id)); ++i) {
      conversation->id = fmt::format("{}-{}", date, i);
    }
  }
  AtomicFile file(path_of(conversation->id));
  file.write(
      dump({{"kind", kKind}, {"begun", conversation->begun_s}, {"model", conversation->model}}));
  for (const Json& message : conversation->messages) file.write(dump(message));
  file.commit();
}

Conversation ConversationStore::load(const std::string& name) const {
  std::string path = name;
  if (name.find('/') == std::string::npos) {
    const auto is_file = [](const std::string& file) {
      std::error_code none;
      return fs::is_regular_file(file, none);
    };
    // The id of one that is kept, a file that stands here, or the file that one is kept in.
    const std::string candidates[] = {path_of(name), name, folder_ + "/" + name};
    const auto found = std::ranges::find_if(candidates, is_file);
    if (found == std::end(candidates)) {
      throw_error(ErrorCode::kNotFound,
                  "there is no conversation '{}' in {}; flashmoe chat --sessions lists them", name,
                  folder_);
    }
    path = *found;
  }
  Conversation conversation = read_file(path);
  // One from elsewhere gets an id, and a file, of its own.
  const std::string id = fs::path(path).stem().string();
  std::error_code other;
  if (fs::equivalent(path, path_of(id), other)) conversation.id = id;
  return conversation;
}

std::vector<ConversationStore::Entry> ConversationStore::list() const {
  std::vector<Entry> entries;
  std::error_code error;
  for (const fs::directory_entry& file : fs::directory_iterator(folder_, error)) {
    if (file.path().extension() != ".jsonl") continue;
    try {
      const Conversation conversation = read_file(file.path().string());
      const auto age = fs::file_time_type::clock::now() - file.last_write_time();
      const auto age_s = std::chrono::duration_cast<std::chrono::seconds>(age).count();
      entries.push_back({file.path().stem().string(), conversation.title(),
                         static_cast<int64_t>(std::time(nullptr)) - age_s,
                         conversation.messages.size()});
    } catch (const std::exception&) {
      continue;
    }
  }
  std::sort(entries.begin(), entries.end(), [](const Entry& a, const Entry& b) {
    return a.changed_s != b.changed_s ? a.changed_s > b.changed_s : a.id > b.id;
  });
  return entries;
}

}  // namespace flashmoe::chat
