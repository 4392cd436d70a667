// A small HTTP client that waits: one request at a time, plain or as a stream of events. Owns its
// connection for as long as a request takes.
#pragma once

#include <chrono>
#include <functional>
#include <string>
#include <vector>

#include "http/message.h"
#include "http/sse.h"

namespace flashmoe::http {

struct ClientRequest {
  std::string method = "GET";
  std::string path = "/";  // after the URL's own
  std::string body = {};   // sent as JSON when it is not empty
  std::vector<Header> headers = {};
};

class Client {
 public:
  struct Options {
    std::chrono::milliseconds connect_timeout{5'000};
    std::chrono::milliseconds silence_timeout{600'000};  // without a byte from the server
    size_t max_body_bytes = size_t{256} << 20;
    std::function<bool()> stop = {};  // asked several times a second; true: give up (kCancelled)
  };
  explicit Client(const Url& url) : Client(url, Options{}) {}
  Client(const Url& url, Options options) : url_(url), options_(std::move(options)) {}

  // Throws Error kIo when there is no answer, kCancelled when `stop` says so. A status of any kind
  // is an answer.
  Response send(const ClientRequest& request) const;
  // Calls `event` with each event as it comes, until the stream ends or `event` answers false. An
  // answer that is no stream of events is returned as it is, with its body.
  Response stream(const ClientRequest& request,
                  const std::function<bool(const SseEvent&)>& event) const;

 private:
  Url url_;
  Options options_;
};

}  // namespace flashmoe::http
