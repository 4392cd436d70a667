// A conversation as the API takes it, and the files that conversations are kept in. Owns their
// format: one JSON object a line, first what the session is, then its messages.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace flashmoe::chat {

using Json = nlohmann::ordered_json;

struct Conversation {
  std::string id;                 // of its file; empty as long as nothing was said
  int64_t begun_s = 0;            // seconds since 1970
  std::string model;              // that answered last
  Json messages = Json::array();  // as /v1/chat/completions takes them, a system message first

  const std::string* system() const;         // nullptr: none
  void set_system(const std::string& text);  // empty: none
  // The first thing the user said, cut to a line; empty when there is none.
  std::string title() const;
};

// The conversations in one folder.
class ConversationStore {
 public:
  explicit ConversationStore(std::string folder) : folder_(std::move(folder)) {}

  // $XDG_DATA_HOME/flashmoe/sessions, or ~/.local/share/flashmoe/sessions.
  static std::string default_folder();

  const std::string& folder() const { return folder_; }
  // Writes the whole conversation, under a new id (the date and time) if it has none. Throws Error.
  void save(Conversation* conversation) const;
  // By id, by the name of the file that it is kept in, or by the path of any file; one that is not
  // kept here has no id. Throws Error kNotFound, kCorrupt with file and line.
  Conversation load(const std::string& name) const;

  struct Entry {
    std::string id, title;
    int64_t changed_s = 0;  // seconds since 1970
    size_t messages = 0;
  };
  // Newest first. Files that are no conversations are left out.
  std::vector<Entry> list() const;

 private:
  std::string path_of(const std::string& id) const { return folder_ + "/" + id + ".jsonl"; }

  std::string folder_;
};

}  // namespace flashmoe::chat
