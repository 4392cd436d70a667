// Finds stop strings in a text that comes in pieces, also across their borders. Owns the text that
// may be the beginning of one: nothing of a stop string is ever let through.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace flashmoe::server {

class StopStrings {
 public:
  explicit StopStrings(std::vector<std::string> stops) : stops_(std::move(stops)) {}

  // What is certain now to come before any stop string. Nothing more after one was found.
  std::string push(std::string_view text);
  // The rest: the text has ended.
  std::string finish();
  bool found() const { return found_; }
  const std::string& which() const { return which_; }

 private:
  std::vector<std::string> stops_;
  std::string pending_;
  bool found_ = false;
  std::string which_;
};

}  // namespace flashmoe::server
