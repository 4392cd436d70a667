#include "server/call_memory.h"

namespace flashmoe::server {

void CallMemory::remember(const std::string& id, const std::string& arguments) {
  if (arguments.size() > kMostBytes) return;
  const std::lock_guard lock(mutex_);
  if (!texts_.emplace(id, arguments).second) return;
  ids_.push_back(id);
  if (ids_.size() <= kMostCalls) return;
  texts_.erase(ids_.front());
  ids_.pop_front();
}

void CallMemory::restore(Json* messages) const {
  const std::lock_guard lock(mutex_);
  for (Json& message : *messages) {
    if (!message.contains("tool_calls")) continue;
    for (Json& call : message["tool_calls"]) {
      Json& arguments = call["function"]["arguments"];
      const std::string id = call["id"];
      const auto at = texts_.find(id.substr(id.rfind('_') + 1));
      if (!arguments.is_object() || at == texts_.end()) continue;
      if (Json::parse(at->second, nullptr, false) == arguments) arguments = at->second;
    }
  }
}

}  // namespace flashmoe::server
