// The arguments of the calls that answers made, as the model wrote them, by the call's id. For APIs
// whose clients send them back as an object: from that alone the model's own bytes, and so the
// cached prefix, could not be had again. Owns the texts of the last few thousand calls.
#pragma once

#include <cstddef>
#include <deque>
#include <mutex>
#include <string>
#include <unordered_map>

#include "server/json_fields.h"

namespace flashmoe::server {

class CallMemory {
 public:
  // Any thread may call. Ids are without an API's prefix.
  void remember(const std::string& id, const std::string& arguments);

  // Puts the text in the place of each call's arguments that are an object equal to it.
  void restore(Json* messages) const;

 private:
  static constexpr size_t kMostCalls = 4096;
  static constexpr size_t kMostBytes = 64 << 10;  // of one; longer ones are not kept

  mutable std::mutex mutex_;
  std::unordered_map<std::string, std::string> texts_;
  std::deque<std::string> ids_;  // the oldest first
};

}  // namespace flashmoe::server
