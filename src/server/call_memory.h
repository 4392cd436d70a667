// The arguments of the calls that answers made, as the model wrote them, by the call's id. Clients
// and templates turn them into objects: from these alone the model's own bytes, and so the cached
// prefix, could not be had again. Owns the texts of the last few thousand calls.
#pragma once

#include <cstddef>
#include <deque>
#include <mutex>
#include <string>
#include <unordered_map>

#include "server/answer_reader.h"
#include "server/json_fields.h"

namespace flashmoe::server {

class CallMemory {
 public:
  // Any thread may call. Ids are without an API's prefix.
  void remember(const WrittenCall& call);

  // How a template prints the model's own bytes.
  enum class Form {
    kText,     // from arguments that are a string
    kSpelled,  // from an object of strings
    kNone,     // it cannot
  };
  // Puts them in the place of each call's arguments that are an object equal to what was told.
  void restore(Form form, Json* messages) const;

 private:
  static constexpr size_t kMostCalls = 4096;
  static constexpr size_t kMostBytes = 64 << 10;  // of one; longer ones are not kept

  mutable std::mutex mutex_;
  std::unordered_map<std::string, WrittenCall> calls_;
  std::deque<std::string> ids_;  // the oldest first
};

}  // namespace flashmoe::server
