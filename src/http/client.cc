#include "http/client.h"

#include <boost/asio/connect.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/write.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/string_body.hpp>
#include <optional>
#include <utility>

#include "base/error.h"

namespace flashmoe::http {

namespace {

namespace asio = boost::asio;
namespace beast = boost::beast;
using asio::ip::tcp;

constexpr size_t kReadBytes = 16 << 10;
constexpr std::chrono::milliseconds kAskStopEvery{100};

// One request on a connection of its own.
class Call {
 public:
  Call(const Url& url, const Client::Options& options) : url_(url), options_(options) {
    parser_.body_limit(options.max_body_bytes);
    parser_.eager(true);
  }

  void send(const ClientRequest& request) {
    beast::error_code error;
    tcp::resolver resolver(context_);
    const auto found = resolver.resolve(url_.host, url_.port, error);
    if (error) fail("cannot find the host", error);
    wait(options_.connect_timeout, "cannot connect", [&](auto done) {
      asio::async_connect(socket_, found,
                          [done](beast::error_code e, const tcp::endpoint&) { done(e); });
    });
    if (request.method == "HEAD") parser_.skip(true);
    const std::string text = request_text(request);
    wait(options_.silence_timeout, "cannot send the request", [&](auto done) {
      asio::async_write(socket_, asio::buffer(text),
                        [done](beast::error_code e, size_t) { done(e); });
    });
  }

  // Reads until there is more of the answer; false at its end.
  bool read_more() {
    if (parser_.is_done()) return false;
    bool ended = false;
    size_t bytes = 0;
    wait(options_.silence_timeout, "the answer broke off", [&](auto done) {
      socket_.async_read_some(buffer_.prepare(kReadBytes),
                              [&, done](beast::error_code e, size_t n) {
                                bytes = n;
                                ended = e == asio::error::eof;
                                done(ended ? beast::error_code() : e);
                              });
    });
    buffer_.commit(bytes);
    beast::error_code error;
    if (ended) {
      if (!parser_.is_header_done()) error = beast::http::error::end_of_stream;
      if (!error && !parser_.is_done()) parser_.put_eof(error);
      if (error) fail("the answer broke off", error);
      return false;
    }
    while (buffer_.size() > 0 && !parser_.is_done()) {
      const size_t used = parser_.put(buffer_.data(), error);
      buffer_.consume(used);
      if (error == beast::http::error::need_more) break;
      if (error) fail("the answer is not HTTP", error);
    }
    return true;
  }

  bool header_done() const { return parser_.is_header_done(); }
  // What has come of the body and was not taken before.
  std::string take_body() { return std::exchange(parser_.get().body(), std::string()); }
  Response head() const {
    Response response;
    const auto& message = parser_.get();
    response.status = message.result_int();
    response.content_type = message[beast::http::field::content_type];
    for (const auto& field : message) {
      response.headers.emplace_back(field.name_string(), field.value());
    }
    return response;
  }

 private:
  std::string request_text(const ClientRequest& request) const {
    const bool v6 = url_.host.find(':') != std::string::npos;
    std::string text = fmt::format(
        "{} {}{} HTTP/1.1\r\nhost: {}:{}\r\nconnection: close\r\naccept: */*\r\n", request.method,
        url_.path, request.path, v6 ? "[" + url_.host + "]" : url_.host, url_.port);
    for (const Header& header : request.headers) {
      text += fmt::format("{}: {}\r\n", header.first, header.second);
    }
    if (!request.body.empty() || request.method == "POST") {
      text += fmt::format("content-type: application/json\r\ncontent-length: {}\r\n",
                          request.body.size());
    }
    return text + "\r\n" + request.body;
  }

  [[noreturn]] void fail(const char* what, beast::error_code error) const {
    throw_error(ErrorCode::kIo, "{}:{}: {}: {}", url_.host, url_.port, what, error.message());
  }

  // Runs one asynchronous operation to its end, with a limit of time.
  template <typename Start>
  void wait(std::chrono::milliseconds limit, const char* what, Start&& start) {
    // Also while data never ceases to come.
    if (options_.stop && options_.stop()) throw Error(ErrorCode::kCancelled, "stopped");
    const auto end = std::chrono::steady_clock::now() + limit;
    std::optional<beast::error_code> result;
    start([&result](beast::error_code error) { result = error; });
    context_.restart();
    while (!result) {
      context_.run_one_for(kAskStopEvery);
      if (result) break;
      const bool stop = options_.stop && options_.stop();
      if (!stop && std::chrono::steady_clock::now() < end) continue;
      beast::error_code ignored;
      socket_.close(ignored);
      while (!result) context_.run_one();
      if (stop) throw Error(ErrorCode::kCancelled, "stopped");
      fail(what, asio::error::timed_out);
    }
    if (*result) fail(what, *result);
  }

  const Url& url_;
  const Client::Options& options_;
  asio::io_context context_;
  tcp::socket socket_{context_};
  beast::flat_buffer buffer_;
  beast::http::response_parser<beast::http::string_body> parser_;
};

}  // namespace

Response Client::send(const ClientRequest& request) const {
  Call call(url_, options_);
  call.send(request);
  while (call.read_more()) {
  }
  Response response = call.head();
  response.body = call.take_body();
  return response;
}

Response Client::stream(const ClientRequest& request,
                        const std::function<bool(const SseEvent&)>& event) const {
  Call call(url_, options_);
  call.send(request);
  SseReader reader;
  bool more = true, events = false;
  while (more) {
    more = call.read_more();
    if (!call.header_done()) continue;
    events = events || call.head().content_type.starts_with("text/event-stream");
    if (!events) continue;
    for (const SseEvent& one : reader.push(call.take_body())) {
      if (!event(one)) return call.head();
    }
  }
  Response response = call.head();
  if (!events) response.body = call.take_body();
  return response;
}

}  // namespace flashmoe::http
