#include "chat/api.h"

#include <chrono>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <optional>

#include "base/error.h"
#include "http/client.h"
#include "http/sse.h"

namespace flashmoe::chat {

namespace {

// What the server says went wrong, in either API's shape.
[[noreturn]] void throw_refusal(int status, const std::string& body) {
  const Json json = Json::parse(body, nullptr, false);
  std::string message = "the server answered " + std::to_string(status);
  if (json.is_object() && json.contains("error") && json["error"].is_object()) {
    message = json["error"].value("message", message);
  }
  throw Error(status == 400 ? ErrorCode::kUsage : ErrorCode::kIo, message);
}

Json parse_body(const http::Response& response) {
  if (response.status != 200) throw_refusal(response.status, response.body);
  Json json = Json::parse(response.body, nullptr, false);
  if (json.is_discarded()) throw Error(ErrorCode::kCorrupt, "the server's answer is not JSON");
  return json;
}

std::string dump(const Json& json) {
  return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

// Hands on the JSON of an event of the OpenAI API; false at the end of the stream.
bool take_event(const http::SseEvent& event, const std::function<void(const Json&)>& take) {
  if (event.data == "[DONE]") return false;
  const Json json = Json::parse(event.data, nullptr, false);
  if (json.is_discarded()) throw Error(ErrorCode::kCorrupt, "the server's event is not JSON");
  if (json.is_object() && json.contains("error")) throw_refusal(500, event.data);
  take(json);
  return true;
}

class RemoteApi final : public Api {
 public:
  RemoteApi(const std::string& url, const std::string& key) : url_(http::parse_url(url)) {
    if (!key.empty()) headers_.emplace_back("Authorization", "Bearer " + key);
  }

  Json get(const std::string& path) override {
    return parse_body(http::Client(url_).send({.path = path, .headers = headers_}));
  }

  void stream(const std::string& path, const Json& body,
              const std::function<void(const Json&)>& event,
              const std::function<bool()>& stop) override {
    http::Client::Options options;
    options.stop = stop;
    const http::Response response =
        http::Client(url_, options)
            .stream({.method = "POST", .path = path, .body = dump(body), .headers = headers_},
                    [&](const http::SseEvent& sse) { return take_event(sse, event); });
    if (response.status != 200) throw_refusal(response.status, response.body);
  }

 private:
  http::Url url_;
  std::vector<http::Header> headers_;
};

// The answer's way from the server's threads to ours.
class Mailbox {
 public:
  void put(std::string piece) {
    const std::lock_guard lock(mutex_);
    pieces_.push_back(std::move(piece));
    changed_.notify_one();
  }
  void finish(http::Response response) {
    const std::lock_guard lock(mutex_);
    response_ = std::move(response);
    changed_.notify_one();
  }
  void on_cancel(std::function<void()> callback) {
    {
      const std::lock_guard lock(mutex_);
      if (!cancelled_) {
        cancel_ = std::move(callback);
        return;
      }
    }
    callback();
  }
  void cancel() {
    std::function<void()> callback;
    {
      const std::lock_guard lock(mutex_);
      cancelled_ = true;
      callback.swap(cancel_);
    }
    if (callback) callback();
  }

  // The next piece of a stream; nullopt at the end, when `response` is there.
  std::optional<std::string> take(const std::function<bool()>& stop) {
    std::unique_lock lock(mutex_);
    while (pieces_.empty() && !response_) {
      changed_.wait_for(lock, std::chrono::milliseconds(50));
      if (stop && stop()) throw Error(ErrorCode::kCancelled, "stopped");
    }
    if (pieces_.empty()) return std::nullopt;
    std::string piece = std::move(pieces_.front());
    pieces_.pop_front();
    return piece;
  }
  const http::Response& response() const { return *response_; }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<std::string> pieces_;
  std::optional<http::Response> response_;
  std::function<void()> cancel_;
  bool cancelled_ = false;
};

class LocalExchange final : public http::Exchange {
 public:
  LocalExchange(http::Request request, std::shared_ptr<Mailbox> mailbox)
      : request_(std::move(request)), mailbox_(std::move(mailbox)) {}
  ~LocalExchange() override {
    if (!answered_) mailbox_->finish({.status = 500});
  }

  const http::Request& request() const override { return request_; }
  void respond(http::Response response) override {
    answered_ = true;
    mailbox_->finish(std::move(response));
  }
  void begin_stream(http::Response head) override { head_ = std::move(head); }
  bool write(std::string piece) override {
    mailbox_->put(std::move(piece));
    return true;
  }
  void finish_stream() override { respond(head_); }
  void on_cancel(std::function<void()> callback) override {
    mailbox_->on_cancel(std::move(callback));
  }

 private:
  const http::Request request_;
  const std::shared_ptr<Mailbox> mailbox_;
  http::Response head_;
  bool answered_ = false;
};

class LocalApi final : public Api {
 public:
  explicit LocalApi(http::Handler handler) : handler_(std::move(handler)) {}

  Json get(const std::string& path) override {
    const auto mailbox =
        begin({.method = "GET", .path = path, .query = {}, .headers = {}, .body = {}});
    mailbox->take({});
    return parse_body(mailbox->response());
  }

  void stream(const std::string& path, const Json& body,
              const std::function<void(const Json&)>& event,
              const std::function<bool()>& stop) override {
    const auto mailbox = begin({.method = "POST",
                                .path = path,
                                .query = {},
                                .headers = {{"Content-Type", "application/json"}},
                                .body = dump(body)});
    try {
      http::SseReader reader;
      while (const std::optional<std::string> piece = mailbox->take(stop)) {
        for (const http::SseEvent& sse : reader.push(*piece)) {
          if (!take_event(sse, event)) return;
        }
      }
    } catch (...) {
      mailbox->cancel();
      throw;
    }
    if (mailbox->response().status != 200) {
      throw_refusal(mailbox->response().status, mailbox->response().body);
    }
  }

 private:
  std::shared_ptr<Mailbox> begin(http::Request request) {
    auto mailbox = std::make_shared<Mailbox>();
    handler_(std::make_shared<LocalExchange>(std::move(request), mailbox));
    return mailbox;
  }

  http::Handler handler_;
};

}  // namespace

std::unique_ptr<Api> make_remote_api(const std::string& url, const std::string& key) {
  return std::make_unique<RemoteApi>(url, key);
}

std::unique_ptr<Api> make_local_api(http::Handler handler) {
  return std::make_unique<LocalApi>(std::move(handler));
}

}  // namespace flashmoe::chat
