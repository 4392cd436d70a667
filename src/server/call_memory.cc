#include "server/call_memory.h"

namespace flashmoe::server {

namespace {

// Whether the text is an object with these members, in whatever order.
bool says(const std::string& text, const Json& object) {
  const auto said = nlohmann::json::parse(text, nullptr, false);
  return said.is_object() && said == nlohmann::json::parse(dump(object), nullptr, false);
}

}  // namespace

void CallMemory::remember(const WrittenCall& call) {
  if (call.arguments.size() + call.spelled.size() > kMostBytes) return;
  const std::lock_guard lock(mutex_);
  if (!calls_.emplace(call.id, call).second) return;
  ids_.push_back(call.id);
  if (ids_.size() <= kMostCalls) return;
  calls_.erase(ids_.front());
  ids_.pop_front();
}

void CallMemory::restore(Form form, Json* messages) const {
  if (form == Form::kNone) return;
  const std::lock_guard lock(mutex_);
  for (Json& message : *messages) {
    if (!message.contains("tool_calls")) continue;
    for (Json& call : message["tool_calls"]) {
      Json& arguments = call["function"]["arguments"];
      const std::string id = call["id"];
      const auto at = calls_.find(id.substr(id.rfind('_') + 1));
      if (!arguments.is_object() || at == calls_.end()) continue;
      const WrittenCall& written = at->second;
      if (!says(written.arguments, arguments)) continue;
      if (form == Form::kText) {
        arguments = written.arguments;
      } else if (!written.spelled.empty()) {
        arguments = Json::parse(written.spelled);
      }
    }
  }
}

}  // namespace flashmoe::server
