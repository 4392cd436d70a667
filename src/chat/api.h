// Where a chat's answers come from: a server elsewhere, or the same server's code in this process,
// without a socket between. Either way a chat speaks the public API.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "chat/conversation.h"
#include "http/exchange.h"

namespace flashmoe::chat {

class Api {
 public:
  virtual ~Api() = default;
  // Throws Error with the server's own message.
  virtual Json get(const std::string& path) = 0;
  // Posts `body`, and calls `event` with each event of the answer. `stop` is asked several times a
  // second; after a stop it returns as soon as it can.
  virtual void stream(const std::string& path, const Json& body,
                      const std::function<void(const Json&)>& event,
                      const std::function<bool()>& stop) = 0;
};

std::unique_ptr<Api> make_remote_api(const std::string& url, const std::string& key);
std::unique_ptr<Api> make_local_api(http::Handler handler);

}  // namespace flashmoe::chat
